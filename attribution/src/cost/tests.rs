use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// 2026-11-22 12:00 UTC.
const NOON: u64 = (20_779 * 86_400 + 43_200) * 1_000_000_000;

static PRICES: LazyLock<Prices> = LazyLock::new(|| Prices::built_in().unwrap());

fn prices() -> Prices {
    PRICES.clone()
}

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens { input: Some(input), output: Some(output), ..Default::default() }
}

fn bill<'a>(provider: &'a str, model: &'a str, tokens: &'a Tokens) -> Billed<'a> {
    Billed { provider, model, time: NOON, tokens: Some(tokens), ..Default::default() }
}

fn amount(prices: &Prices, call: &Billed<'_>) -> String {
    prices.cost(call).unwrap().amount
}

#[test]
fn calls_cost_what_the_list_says() {
    let (prices, million) = (prices(), tokens(1_000_000, 1_000_000));
    for (provider, model, expected) in [
        ("openai", "gpt-4o", "12.5"),
        ("openai", "gpt-4o-2024-11-20", "12.5"),
        ("openai", "gpt-4o-2024-05-13", "20"),
        ("openai", "gpt-4o-mini-2024-07-18", "0.75"),
        ("openai", "gpt-4-0613", "90"),
        ("openai", "GPT-4.1-nano", "0.5"),
        ("anthropic", "claude-opus-4-1-20250805", "90"),
        ("anthropic", "claude-opus-4-5-20251101", "30"),
        ("anthropic", "claude-3-5-haiku-latest", "4.8"),
        ("gcp.gemini", "gemini-2.5-pro", "17.5"),
        ("aws.bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "6.6"),
        ("aws.bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", "6"),
        ("aws.bedrock", "eu.amazon.nova-pro-v1:0", "4"),
        ("mistral_ai", "mistral-large-2512", "2"),
    ] {
        let cost = prices.cost(&bill(provider, model, &million)).unwrap();
        assert_eq!((cost.amount.as_str(), cost.currency.as_str()), (expected, "USD"), "{provider}/{model}");
        assert_eq!(cost.basis, "list_price");
        assert!(cost.price.starts_with(&format!("{provider}/")), "{}", cost.price);
    }
}

#[test]
fn an_unknown_model_tier_or_count_costs_nothing_known() {
    let (prices, some) = (prices(), tokens(10, 10));
    for (provider, model) in [
        ("openai", "gpt-99"),
        ("openai", ""),
        ("openai", "gpt-4o-mini-2024-07-18-custom"),
        ("anthropic", "gpt-4o"),
        ("nobody", "gpt-4o"),
        ("mistral_ai", "mistral-large-2706"),
    ] {
        assert_eq!(prices.cost(&bill(provider, model, &some)), Err(Unpriced::Model), "{provider}/{model}");
    }
    let tier = Billed { tier: "scale", ..bill("openai", "gpt-4o", &some) };
    assert_eq!(prices.cost(&tier), Err(Unpriced::Tier));
    for tokens in [
        Tokens { output: Some(3), ..Default::default() },
        Tokens { cache_read: Some(11), ..tokens(10, 1) },
        Tokens { input: Some(u64::MAX), output: Some(u64::MAX), ..Default::default() },
    ] {
        assert_eq!(prices.cost(&bill("openai", "gpt-4o", &tokens)), Err(Unpriced::Tokens), "{tokens:?}");
    }
    let none = Billed { tokens: None, ..bill("openai", "gpt-4o", &some) };
    assert_eq!(prices.cost(&none), Err(Unpriced::Tokens));
    // It has no price for output.
    assert_eq!(prices.cost(&bill("openai", "text-embedding-3-small", &tokens(10, 1))), Err(Unpriced::Tokens));
    let embedded = Tokens { input: Some(1_000_000), ..Default::default() };
    assert_eq!(amount(&prices, &bill("openai", "text-embedding-3-small", &embedded)), "0.02");
}

#[test]
fn parts_of_the_input_have_their_own_prices() {
    let prices = prices();
    let parts = Tokens {
        input: Some(1000),
        output: Some(100),
        cache_read: Some(600),
        cache_write: Some(300),
        reasoning: Some(40),
        ..Default::default()
    };
    // 100 × 3 + 600 × 0.3 + 300 × 3.75 + 100 × 15 dollars for a million.
    let call = bill("anthropic", "claude-sonnet-4-20250514", &parts);
    assert_eq!(amount(&prices, &call), "0.003105");
    // 100 of the written are kept for an hour, at 6 instead of 3.75.
    assert_eq!(amount(&prices, &Billed { cache_write_1h: 100, ..call }), "0.00333");
}

#[test]
fn a_long_request_costs_more_for_all_of_it_and_a_tier_its_own_price() {
    let prices = prices();
    let (short, long) = (tokens(200_000, 1000), tokens(200_001, 1000));
    assert_eq!(amount(&prices, &bill("gcp.gemini", "gemini-2.5-pro", &short)), "0.26");
    assert_eq!(amount(&prices, &bill("gcp.gemini", "gemini-2.5-pro", &long)), "0.5150025");
    let million = tokens(1_000_000, 0);
    for (tier, expected) in [("default", "2.5"), ("standard", "2.5"), ("priority", "4.25"), ("batch", "1.25")]
    {
        let cost = prices.cost(&Billed { tier, ..bill("openai", "gpt-4o", &million) }).unwrap();
        assert_eq!((cost.amount.as_str(), cost.service_tier.as_str()), (expected, tier));
    }
}

#[test]
fn a_price_holds_in_its_time() {
    let (prices, million) = (prices(), tokens(1_000_000, 0));
    let at = |model: &'static str, text: &str, minute: u64| {
        let seconds = time::day(text).unwrap() * 86_400 + minute * 60;
        let provider = if model == "o3" { "openai" } else { "deepseek" };
        amount(&prices, &Billed { time: seconds * 1_000_000_000, ..bill(provider, model, &million) })
    };
    assert_eq!((at("o3", "2025-06-09", 1439), at("o3", "2025-06-10", 0)), ("10".into(), "2".into()));
    assert_eq!(at("deepseek-v4-pro", "2026-11-22", 59), "0.66");
    assert_eq!(at("deepseek-v4-pro", "2026-11-22", 60), "1.32");
    assert_eq!(at("deepseek-v4-pro", "2026-11-22", 240), "0.66");
}

#[test]
fn reported_money_wins_and_subscriptions_have_no_amount() {
    let (prices, some) = (prices(), tokens(10, 10));
    let call = bill("openai", "gpt-4o", &some);
    let cost = prices.cost(&Billed { reported: Some(42), subscription: true, ..call }).unwrap();
    assert_eq!((cost.basis.as_str(), cost.amount.as_str()), ("reported", "0.000000042"));
    let cost = prices.cost(&Billed { subscription: true, ..call }).unwrap();
    assert_eq!((cost.basis.as_str(), cost.amount.as_str(), cost.currency.as_str()), ("subscription", "", ""));
    let call = bill("anthropic", "claude-sonnet-4", &some);
    for (kind, basis) in [("oauth_token", "subscription"), ("api_key", "list_price")] {
        let call = Billed { credential: Some(("anthropic", kind)), ..call };
        assert_eq!(prices.cost(&call).unwrap().basis, basis);
    }
}

#[test]
fn the_users_prices_win_over_the_list() {
    let text = r#"{
        "sample_spec": {"input_cost_per_token": "a number"},
        "gpt-4o": {"litellm_provider": "openai", "mode": "chat", "max_tokens": 1, "input_cost_per_token": 1e-06,
            "output_cost_per_token": 2.5e-06, "cache_read_input_token_cost": 1e-07,
            "input_cost_per_token_above_200k_tokens": 3e-06, "input_cost_per_token_batches": 5e-07,
            "output_cost_per_token_priority": 0.00001, "supports_vision": true},
        "our-model": {"input_cost_per_token": 0.000004, "output_cost_per_token": null},
        "groq/openai/gpt-oss-120b": {"litellm_provider": "groq", "input_cost_per_token": 7e-06},
        "vertex_ai/claude-x": {"litellm_provider": "vertex_ai-anthropic_models", "input_cost_per_token": 8e-06},
        "an-image": {"litellm_provider": "openai", "output_cost_per_image": 0.04}
    }"#;
    let prices = prices().with_overrides(text).unwrap();
    let million = tokens(1_000_000, 0);
    let cached = Tokens { cache_read: Some(100_000), ..tokens(200_000, 1000) };
    for (provider, model, tier, tokens, expected) in [
        ("openai", "gpt-4o-2024-11-20", "", &cached, "0.1125"),
        ("openai", "gpt-4o", "", &million, "3"),
        ("openai", "gpt-4o", "batch", &cached, "0.0625"),
        ("openai", "gpt-4o", "priority", &cached, "0.12"),
        ("in_house", "our-model", "", &million, "4"),
        ("groq", "openai/gpt-oss-120b", "", &million, "7"),
        ("gcp.vertex_ai", "claude-x", "", &million, "8"),
    ] {
        let cost = prices.cost(&Billed { tier, ..bill(provider, model, tokens) }).unwrap();
        assert_eq!((cost.basis.as_str(), cost.amount.as_str()), ("override", expected), "{model} {tier}");
    }
    assert_eq!(prices.cost(&bill("openai", "gpt-4o-mini", &million)).unwrap().basis, "list_price");
    for (text, part) in [
        ("[]", "expected a map"),
        ("{\"m\": 1}", "`m` is not an object"),
        ("{\"m\": {\"input_cost_per_token\": -1}}", "`input_cost_per_token` is not a price"),
        ("{\"m\": {\"input_cost_per_token\": \"cheap\"}}", "`input_cost_per_token` is not a price"),
    ] {
        let error = Prices::default().with_overrides(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn every_list_price_is_one_and_later_rows_are_later() {
    let document: Document = toml::from_str(BUILT_IN).unwrap();
    let mut rows = 0;
    for provider in &document.provider {
        assert!(provider._source.starts_with("https://"), "{:?}", provider.names);
        let mut since: std::collections::HashMap<&str, u64> = Default::default();
        for model in &provider.models {
            rows += 1;
            assert!(model.input.is_some(), "{} has no price for input", model.model);
            let from = model.from.as_deref().map_or(0, |day| time::day(day).unwrap());
            for name in model.also.iter().chain([&model.model]) {
                assert_eq!(*name, name.to_lowercase());
                let before = since.insert(name, from);
                let fits =
                    before.is_none_or(|before| before < from || (before == from && model.hours.is_some()));
                assert!(fits, "{:?}: {name} is listed twice", provider.names);
            }
        }
    }
    assert!(rows > 200, "{rows}");
}

fn counts() -> impl Strategy<Value = Tokens> {
    let small = 0u64..1 << 32;
    (small.clone(), small.clone(), small.clone(), small.clone(), small).prop_map(
        |(plain, read, write, output, reasoning)| Tokens {
            input: Some(plain + read + write),
            output: Some(output + reasoning),
            cache_read: Some(read),
            cache_write: Some(write),
            reasoning: Some(reasoning),
            quality: String::new(),
        },
    )
}

proptest! {
    #[test]
    fn a_whole_is_the_sum_of_its_parts(tokens in counts()) {
        let rates = rates::Rates {
            input: Some(3_000_000_000), output: Some(15_000_000_000), cache_read: Some(300_000_000),
            cache_write: Some(3_750_000_000), reasoning: Some(7_000_000_000), ..Default::default()
        };
        let (read, write) = (tokens.cache_read.unwrap(), tokens.cache_write.unwrap());
        let reasoning = tokens.reasoning.unwrap();
        let plain = tokens.input.unwrap() - read - write;
        let alone = |count: u64, rate: Option<u64>| (u128::from(count) * u128::from(rate.unwrap())) as f64 / 1e6;
        let sum = alone(plain, rates.input) + alone(read, rates.cache_read) + alone(write, rates.cache_write)
            + alone(tokens.output.unwrap() - reasoning, rates.output) + alone(reasoning, rates.reasoning);
        let whole = rates.amount(&tokens, 0).unwrap() as f64;
        prop_assert!((whole - sum).abs() <= 1.0 + sum * 1e-12, "{whole} {sum}");
    }

    #[test]
    fn more_tokens_never_cost_less(tokens in counts(), input in 0u64..1 << 20, output in 0u64..1 << 20) {
        let prices = &*PRICES;
        for (provider, model) in [("openai", "gpt-4o"), ("gcp.gemini", "gemini-2.5-pro"), ("anthropic", "claude-opus-4-5")] {
            let amount = |tokens: &Tokens| nano(&prices.cost(&bill(provider, model, tokens)).unwrap().amount).unwrap();
            let more = Tokens {
                input: tokens.input.map(|count| count + input),
                output: tokens.output.map(|count| count + output),
                ..tokens.clone()
            };
            prop_assert!(amount(&more) >= amount(&tokens), "{model}");
        }
    }

    #[test]
    fn hostile_overrides_never_panic(text in "\\PC{0,200}", field in "[a-z_0-9]{0,60}", value in any::<f64>()) {
        let _ = Prices::default().with_overrides(&text);
        let _ = Prices::default().with_overrides(&format!("{{\"m\": {{\"{field}\": {value}, \"input_cost_per_token_above_{field}k_tokens\": 1}}}}"));
    }
}
