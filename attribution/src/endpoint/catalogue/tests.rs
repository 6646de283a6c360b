use std::sync::LazyLock;

use super::*;
use crate::endpoint::{HostMatch, OperationMatch};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

fn id(host: &str) -> Option<&'static str> {
    match CATALOGUE.host(host) {
        HostMatch::Provider(provider) | HostMatch::NeedsPath(provider) => Some(provider.id()),
        HostMatch::Unknown => None,
    }
}

fn operation(provider: &str, method: &str, target: &str) -> Option<OperationMatch> {
    CATALOGUE.operation(CATALOGUE.provider(provider), method, target)
}

#[test]
fn the_catalogue_is_whole() {
    let (own, hosted): (Vec<_>, Vec<_>) =
        CATALOGUE.providers().iter().partition(|provider| provider.entry.self_hosted);
    assert_eq!((own.len(), hosted.len()), (9, 39));
    let document = CATALOGUE.document();
    assert_eq!((document.credential_file.len(), document.client.len()), (47, 34));
    let used =
        |id: &String| CATALOGUE.providers().iter().any(|provider| provider.entry.families.contains(id));
    assert!(document.family.keys().all(used));
}

#[test]
fn no_built_in_provider_has_an_address() {
    assert!(CATALOGUE.providers().iter().all(|provider| provider.entry.addresses.is_empty()));
    assert!(CATALOGUE.address("127.0.0.1:11434".parse().unwrap()).is_none());
}

#[test]
fn every_listed_host_gives_its_provider() {
    for provider in CATALOGUE.providers() {
        let entry = &provider.entry;
        let below = entry.suffixes.iter().chain(&entry.shared_suffixes).map(|suffix| format!("a-1.{suffix}"));
        for host in entry.hosts.iter().cloned().chain(below) {
            assert_eq!(id(&host), Some(provider.id()), "{host}");
            assert_eq!(id(&format!("{}.:443", host.to_uppercase()).replace(".:", ":")), Some(provider.id()));
            assert!(CATALOGUE.is_model_host(&format!("{host}.")), "{host}");
            for evil in [format!("{host}.evil.tld"), format!("not{host}"), host.replacen('.', "-", 1)] {
                assert_ne!(
                    id(&evil).filter(|_| !entry.suffixes.iter().any(|own| evil.ends_with(own.as_str()))
                        && !entry.shared_suffixes.iter().any(|own| evil.ends_with(own.as_str()))),
                    Some(provider.id()),
                    "{evil}"
                );
            }
        }
    }
}

#[test]
fn patterns_give_their_provider() {
    for (host, provider) in [
        ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock"),
        ("bedrock-runtime-fips.us-gov-west-1.api.aws", "bedrock"),
        ("bedrock-mantle.eu-west-1.api.aws", "bedrock"),
        ("vpce-0a1-b2.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "bedrock"),
        ("aws-external-anthropic.us-east-1.api.aws", "anthropic_aws"),
        ("us-central1-aiplatform.googleapis.com", "vertex"),
        ("aiplatform.mtls.googleapis.com", "vertex"),
        ("eu-de.ml.cloud.ibm.com", "watsonx"),
        ("copilot-api.acme.ghe.com", "github_copilot"),
        ("inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com", "openai_compatible_hosts"),
        ("models.inference.ai.azure.com", "github_models"),
        ("stream-b.svc.ca1.replicate.net", "replicate"),
    ] {
        assert_eq!(id(host), Some(provider), "{host}");
    }
}

#[test]
fn look_alike_hosts_match_nothing() {
    for host in [
        "api.openai.com.evil.tld",
        "notapi.openai.com",
        "xopenai.azure.com",
        "openai.azure.com",
        "openai.com",
        "",
        ".",
        "api.openai.com:x",
        "api..openai.com",
        "api.openai.com..",
        "bedrock-runtime.us.amazonaws.com.evil.tld",
        "xbedrock-runtime.us.amazonaws.com",
        "acme.ghe.com",
        "1.2.3.4",
        "1.2.3.4:443",
        "[::1]:443",
        "::1",
        "api.openai.com/x",
        "api.openai.com\n",
        "auth.openai.com",
    ] {
        assert!(!CATALOGUE.is_model_host(host), "{host:?}");
    }
    assert_eq!(CATALOGUE.token_host("auth.openai.com").map(Provider::id), Some("openai"));
}

#[test]
fn shared_hosts_need_a_path() {
    let at = |host, method, path| CATALOGUE.provider_at(host, method, path).map(Provider::id);
    for host in
        ["chatgpt.com", "api.cloudflare.com", "x.cloud.databricks.com", "x.azure-api.net", "openrouter.ai"]
    {
        assert!(matches!(CATALOGUE.host(host), HostMatch::NeedsPath(_)), "{host}");
        assert_eq!(at(host, "GET", "/"), None, "{host}");
    }
    assert_eq!(at("chatgpt.com", "POST", "/backend-api/codex/responses"), Some("openai_chatgpt"));
    assert_eq!(at("chatgpt.com", "GET", "/backend-api/conversations"), None);
    assert_eq!(at("chatgpt.com", "GET", "/backend-api/codexx"), None);
    assert_eq!(
        at("api.cloudflare.com", "POST", "/client/v4/accounts/a1/ai/run/@cf/meta/m"),
        Some("cloudflare_workers_ai")
    );
    assert_eq!(at("api.cloudflare.com", "GET", "/client/v4/zones"), None);
    assert_eq!(at("x.cloud.databricks.com", "POST", "/serving-endpoints/m/invocations"), Some("databricks"));
    assert_eq!(at("x.azure-api.net", "POST", "/mine/openai/deployments/d/chat/completions"), Some("azure"));
    assert_eq!(at("api.openai.com", "GET", "/"), Some("openai"));
}

#[test]
fn every_path_pattern_of_every_provider_gives_its_operation() {
    for provider in CATALOGUE.providers() {
        assert!(!provider.entry.operations.is_empty(), "{}", provider.id());
        for (operation, patterns) in &provider.entry.operations {
            for pattern in patterns {
                let (method, template) = pattern.split_once(' ').unwrap();
                let method = match method {
                    "*" | "GRPC" => "POST",
                    "WS" => "GET",
                    other => other,
                };
                let path: Vec<_> = template
                    .trim_start_matches('/')
                    .split('/')
                    .map(|part| {
                        let part = part.replace("**", "*");
                        match (part.find('{'), part.find('}')) {
                            (Some(open), Some(close)) => format!("{}a1{}", &part[..open], &part[close + 1..]),
                            _ => part.replace('*', "a1"),
                        }
                    })
                    .collect();
                let target = format!("/{}?x=1", path.join("/"));
                let found = CATALOGUE.operation(Some(provider), method, &target);
                let found = found.unwrap_or_else(|| panic!("{} {pattern} {target}", provider.id()));
                assert_eq!(found.id, *operation, "{} {pattern}", provider.id());
                assert_eq!(found.model.is_some(), template.contains("{model"), "{} {pattern}", provider.id());
            }
        }
    }
}

#[test]
fn models_come_out_of_paths() {
    for (provider, target, model) in [
        ("gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "gemini-2.5-flash"),
        (
            "vertex",
            "/v1/projects/p/locations/us/publishers/anthropic/models/claude-x@1:streamRawPredict",
            "claude-x@1",
        ),
        (
            "bedrock",
            "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            "anthropic.claude-3-haiku-20240307-v1:0",
        ),
        (
            "bedrock",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123%3Ainference-profile%2Fus.x/invoke-with-response-stream",
            "arn:aws:bedrock:us-east-1:123:inference-profile/us.x",
        ),
        ("azure", "/openai/deployments/my-gpt/chat/completions?api-version=1", "my-gpt"),
        ("cloudflare_workers_ai", "/client/v4/accounts/a/ai/run/@cf/meta/llama", "@cf/meta/llama"),
    ] {
        let found = operation(provider, "POST", target).unwrap();
        assert_eq!(found.model.as_deref(), Some(model), "{target}");
        assert!(found.model_call);
    }
    let found = operation(
        "vertex",
        "POST",
        "/v1/projects/p1/locations/l1/publishers/google/models/m:generateContent",
    )
    .unwrap();
    assert_eq!(found.name, "generate_content");
    assert_eq!(found.path, [("project".into(), "p1".into()), ("location".into(), "l1".into())]);
}

#[test]
fn operations_have_names_and_say_whether_they_spend() {
    for (provider, method, target, name, call) in [
        ("openai", "POST", "/v1/chat/completions", "chat", true),
        ("openai", "POST", "/v1/completions", "text_completion", true),
        ("openai", "post", "/v1/embeddings", "embeddings", true),
        ("openai", "GET", "/v1/responses", "chat", true),
        ("openai", "GET", "/v1/models", "models", false),
        ("openai", "POST", "/v1/files", "files", false),
        ("anthropic", "POST", "/v1/messages?beta=true", "chat", true),
        ("anthropic", "POST", "/v1/messages/count_tokens", "count_tokens", false),
        ("gemini", "POST", "/v1/models/m:generateContent", "generate_content", true),
        ("cloudflare_ai_gateway", "POST", "/v1/acc/gw/anthropic/v1/messages", "chat", true),
        ("cloudflare_ai_gateway", "POST", "/v1/acc/gw/x/y", "passthrough", true),
    ] {
        let found = operation(provider, method, target).unwrap();
        assert_eq!((found.name.as_str(), found.model_call), (name, call), "{target}");
    }
    for (method, target) in
        [("GET", "/v1/chat/completions"), ("POST", "/nothing"), ("POST", "*"), ("CONNECT", "h:443")]
    {
        assert_eq!(operation("openai", method, target), None, "{method} {target}");
    }
}

#[test]
fn gateways_on_unknown_hosts_are_recognized_by_the_end_of_the_path() {
    for (target, id) in [
        ("/proxy/team-a/v1/chat/completions", "chat"),
        ("/x/v1/messages", "messages"),
        ("/x/v1beta/models/m:generateContent", "generate_content"),
        ("/bedrock/model/m/converse-stream", "converse"),
        ("/api/chat", "chat"),
    ] {
        let found = CATALOGUE.operation(None, "POST", target).unwrap();
        assert_eq!(found.id, id, "{target}");
    }
    assert_eq!(CATALOGUE.operation(None, "POST", "/chat"), None);
}

#[test]
fn providers_are_known_by_their_own_response_headers() {
    let detect = |name| CATALOGUE.detect([name]).map(Provider::id);
    assert_eq!(detect("openai-processing-ms"), Some("openai"));
    assert_eq!(detect("Anthropic-Ratelimit-Tokens-Limit"), Some("anthropic"));
    assert_eq!(detect("x-litellm-call-id"), Some("litellm_proxy"));
    assert_eq!(detect("content-type"), None);
}

fn added(text: &str) -> Catalogue {
    Catalogue::with_additions(text).unwrap()
}

#[test]
fn users_add_hosts_addresses_and_providers_without_losing_any() {
    let catalogue = added(
        r#"
[[provider]]
id = "vllm"
addresses = ["10.0.0.5:8000", "[::1]:8001"]
hosts = ["vllm"]

[[provider]]
id = "acme"
suffixes = ["models.acme.example"]
families = ["openai_chat"]
carriers = [{ header = "x-acme-key" }]
key = [{ prefix = "acme_", charset = "a-z0-9", length = [20, 20], kind = "api_key", lifetime = "static" }]
operations = { chat = ["POST /chat"] }

[[credential_file]]
owner = "acme"
paths = ["/etc/acme/key"]
format = "raw"
"#,
    );
    assert_eq!(catalogue.providers().len(), CATALOGUE.providers().len() + 1);
    let at = |text: &str| catalogue.address(text.parse().unwrap()).map(Provider::id);
    assert_eq!(at("10.0.0.5:8000"), Some("vllm"));
    assert_eq!(at("[::ffff:10.0.0.5]:8000"), Some("vllm"));
    assert_eq!(at("[::1]:8001"), Some("vllm"));
    assert_eq!(at("10.0.0.5:8001"), None);
    assert!(catalogue.is_model_host("vllm") && catalogue.is_model_host("eu.models.acme.example"));
    assert!(!catalogue.is_model_host("models.acme.example"));
    assert_eq!(catalogue.document().credential_file.len(), 48);
    let acme = catalogue.provider("acme");
    assert_eq!(catalogue.operation(acme, "POST", "/chat").map(|found| found.name).as_deref(), Some("chat"));
    for provider in CATALOGUE.providers() {
        let kept = catalogue.provider(provider.id()).unwrap();
        assert!(provider.entry.hosts.iter().all(|host| kept.entry.hosts.contains(host)));
    }
}

#[test]
fn leaving_a_provider_out_has_to_be_said() {
    let catalogue = added("disable = [\"cursor\"]\n");
    assert!(catalogue.provider("cursor").is_none() && !catalogue.is_model_host("api2.cursor.sh"));
    assert_eq!(catalogue.providers().len(), CATALOGUE.providers().len() - 1);
}

#[test]
fn errors_name_the_line_and_the_entry() {
    for (text, line, part) in [
        (
            "\n[[provider]]\nid = \"x\"\nhosts = [\n  \"ok.example\",\n  \"Bad.example\",\n]\n",
            6,
            "`Bad.example` is not a host name",
        ),
        ("[[provider]]\nid = \"x\"\nhosts = [\"1.2.3.4\"]\n", 3, "use `addresses`"),
        ("[[provider]]\nhosts = [\"api.openai.com\"]\nid = \"x\"\n", 2, "already belongs to `openai`"),
        ("[[provider]]\nid = \"x\"\nsuffixes = [\"com\"]\n", 3, "two labels"),
        ("[[provider]]\nid = \"x\"\npatterns = ['^(a$']\n", 3, "regular expression"),
        ("[[provider]]\nid = \"x\"\npatterns = ['a']\n", 3, "must start with ^"),
        ("[[provider]]\nid = \"x\"\naddresses = [\"nope\"]\n", 3, "address:port"),
        (
            "[[provider]]\nid = \"x\"\n[provider.operations]\nchatt = [\"POST /x\"]\n",
            4,
            "`chatt` is not known",
        ),
        ("[[provider]]\nid = \"x\"\noperations = { chat = [\"/x\"] }\n", 3, "METHOD path"),
        ("[[provider]]\nid = \"x\"\nfamilies = [\"nope\"]\n", 3, "`nope`"),
        ("[[provider]]\nid = \"x\"\n[[provider]]\nid = \"x\"\n", 4, "used twice"),
        ("[[provider]]\nid = \"X y\"\n", 2, "may hold only"),
        ("[[provider]]\nid = \"openai\"\notel = \"x\"\n", 3, "cannot be set"),
        ("[[provider]]\nid = \"openai\"\npath_prefixes = [\"/x\"]\n", 3, "cannot be set"),
        ("\ndisable = [\"nope\"]\n", 2, "no built-in provider"),
        ("[family.openai_chat]\n", 1, "cannot be changed"),
        (
            "[[provider]]\nid = \"x\"\n[[provider.key]]\ncharset = \"z-a\"\nkind = \"api_key\"\nlifetime = \"static\"\n",
            4,
            "charset",
        ),
    ] {
        match Catalogue::with_additions(text).err() {
            Some(CatalogueError::Entry { line: found, entry, problem }) => {
                assert_eq!(found, line, "{text}: {entry}: {problem}");
                assert!(problem.contains(part), "{problem}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn unknown_fields_and_wrong_types_are_refused_with_their_line() {
    for text in [
        "[[provider]]\nid = \"x\"\nhost = []\n",
        "[[provider]]\nid = \"x\"\nhosts = 3\n",
        "schema = 1\n",
        "x",
    ] {
        match Catalogue::with_additions(text).err() {
            Some(CatalogueError::Syntax(message)) => assert!(message.contains("line "), "{message}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let large = " ".repeat(MAX_ADDITIONS_BYTES + 1);
    assert_eq!(Catalogue::with_additions(&large).err(), Some(CatalogueError::TooLarge));
}
