//! FOCUS 1.3 (FinOps Open Cost and Usage Specification): calls summed by hour, workload, credential and model.
//! The costs are an estimate to show and not a bill: `BilledCost` is always 0.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};
use proto::v1::Record;

use super::{PRODUCT, money::Amount};

const HOUR_NS: u64 = 3_600_000_000_000;
/// Most rows; calls beyond them are counted and left out.
const MAX_ROWS: usize = 1_000_000;
/// Currency when no call says one.
const CURRENCY: &str = "USD";

/// What makes a row of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    hour: u64,
    workload: String,
    fingerprint: String,
    provider: String,
    model: String,
    currency: String,
}

#[derive(Debug, Default)]
struct Sums {
    cost: Amount,
    calls: u64,
    /// Calls of which the cost is not known.
    unpriced: u64,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    name: String,
    kind: String,
    namespace: String,
    host: String,
}

/// One charge.
struct Row<'a> {
    group: &'a Group,
    sums: &'a Sums,
}

type Value = fn(&Row<'_>) -> String;

fn null(_: &Row<'_>) -> String {
    String::new()
}

fn cost(row: &Row<'_>) -> String {
    row.sums.cost.to_string()
}

fn currency(row: &Row<'_>) -> String {
    row.group.currency.clone()
}

fn provider(row: &Row<'_>) -> String {
    row.group.provider.clone()
}

fn tokens(row: &Row<'_>) -> String {
    row.sums.input.saturating_add(row.sums.output).to_string()
}

/// Every column of FOCUS 1.3 in the order of the specification, then our own with the prefix `x_`.
const COLUMNS: &[(&str, Value)] = &[
    ("AllocatedMethodDetails", |_| "attributed by the observed calls of the workload".into()),
    ("AllocatedMethodId", |_| "keywitness-observed-calls".into()),
    ("AllocatedResourceId", |row| row.group.workload.clone()),
    ("AllocatedResourceName", |row| row.sums.name.clone()),
    ("AllocatedTags", null),
    ("AvailabilityZone", null),
    ("BilledCost", |_| "0".into()),
    ("BillingAccountId", |row| row.group.fingerprint.clone()),
    ("BillingAccountName", null),
    ("BillingAccountType", |_| "API credential".into()),
    ("BillingCurrency", currency),
    ("BillingPeriodEnd", |row| month(row.group.hour, 1)),
    ("BillingPeriodStart", |row| month(row.group.hour, 0)),
    ("CapacityReservationId", null),
    ("CapacityReservationStatus", null),
    ("ChargeCategory", |_| "Usage".into()),
    ("ChargeClass", null),
    ("ChargeDescription", |row| {
        format!("{} calls of {} by {}, estimated", row.sums.calls, row.group.model, row.group.workload)
    }),
    ("ChargeFrequency", |_| "Usage-Based".into()),
    ("ChargePeriodEnd", |row| time(row.group.hour.saturating_add(HOUR_NS))),
    ("ChargePeriodStart", |row| time(row.group.hour)),
    ("CommitmentDiscountCategory", null),
    ("CommitmentDiscountId", null),
    ("CommitmentDiscountName", null),
    ("CommitmentDiscountQuantity", null),
    ("CommitmentDiscountStatus", null),
    ("CommitmentDiscountType", null),
    ("CommitmentDiscountUnit", null),
    ("ConsumedQuantity", tokens),
    ("ConsumedUnit", |_| "Tokens".into()),
    ("ContractApplied", null),
    ("ContractedCost", cost),
    ("ContractedUnitPrice", null),
    ("EffectiveCost", cost),
    ("HostProviderName", provider),
    ("InvoiceId", null),
    ("InvoiceIssuerName", provider),
    ("ListCost", cost),
    ("ListUnitPrice", null),
    ("PricingCategory", |_| "Standard".into()),
    ("PricingCurrency", currency),
    ("PricingCurrencyContractedUnitPrice", null),
    ("PricingCurrencyEffectiveCost", cost),
    ("PricingCurrencyListUnitPrice", null),
    ("PricingQuantity", tokens),
    ("PricingUnit", |_| "Tokens".into()),
    ("ProviderName", provider),
    ("PublisherName", provider),
    ("RegionId", null),
    ("RegionName", null),
    ("ResourceId", |row| row.group.workload.clone()),
    ("ResourceName", |row| row.sums.name.clone()),
    ("ResourceType", |row| row.sums.kind.clone()),
    ("ServiceCategory", |_| "AI and Machine Learning".into()),
    ("ServiceName", provider),
    ("ServiceProviderName", provider),
    ("ServiceSubcategory", |_| "Generative AI".into()),
    ("SkuId", |row| row.group.model.clone()),
    ("SkuMeter", |_| "Input and Output Tokens".into()),
    ("SkuPriceDetails", null),
    ("SkuPriceId", |row| row.group.model.clone()),
    ("SubAccountId", null),
    ("SubAccountName", null),
    ("SubAccountType", null),
    ("Tags", |row| {
        let tags =
            [("host", row.sums.host.as_str()), ("namespace", &row.sums.namespace), ("source", PRODUCT)];
        let known = tags.into_iter().filter(|(_, value)| !value.is_empty());
        serde_json::Value::Object(known.map(|(name, value)| (name.to_owned(), value.into())).collect())
            .to_string()
    }),
    ("x_CacheReadTokens", |row| row.sums.cache_read.to_string()),
    ("x_CacheWriteTokens", |row| row.sums.cache_write.to_string()),
    ("x_Calls", |row| row.sums.calls.to_string()),
    ("x_CallsWithoutCost", |row| row.sums.unpriced.to_string()),
    ("x_CredentialFingerprint", |row| row.group.fingerprint.clone()),
    ("x_InputTokens", |row| row.sums.input.to_string()),
    ("x_OutputTokens", |row| row.sums.output.to_string()),
];

/// Sums of calls.
#[derive(Debug, Default)]
pub struct Charges {
    rows: BTreeMap<Group, Sums>,
    /// Calls that did not fit.
    pub left_out: u64,
}

impl Charges {
    /// Takes a record; only model calls cost.
    pub fn add(&mut self, record: &Record) {
        let Some(call) = record.model_call() else { return };
        let workload = call.workload.clone().unwrap_or_default();
        let model = if call.model_served.is_empty() { &call.model_requested } else { &call.model_served };
        let known = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        let cost = call.cost.as_ref().and_then(|cost| Amount::parse(&cost.amount));
        let currency = call.cost.as_ref().map(|cost| cost.currency.as_str()).filter(|text| !text.is_empty());
        let started = if call.started == 0 { record.time } else { call.started };
        let group = Group {
            hour: started - started % HOUR_NS,
            workload: known(&workload.id),
            fingerprint: known(record.credential().map(|one| one.fingerprint.as_str()).unwrap_or_default()),
            provider: known(record.endpoint().map(|one| one.provider.as_str()).unwrap_or_default()),
            model: known(model),
            currency: currency.unwrap_or(CURRENCY).to_owned(),
        };
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&group) {
            self.left_out += 1;
            return;
        }
        let sums = self.rows.entry(group).or_default();
        sums.calls += 1;
        match cost {
            Some(cost) => sums.cost.add(cost),
            None => sums.unpriced += 1,
        }
        let tokens = call.tokens.clone().unwrap_or_default();
        for (sum, count) in [
            (&mut sums.input, tokens.input),
            (&mut sums.output, tokens.output),
            (&mut sums.cache_read, tokens.cache_read),
            (&mut sums.cache_write, tokens.cache_write),
        ] {
            *sum = sum.saturating_add(count.unwrap_or(0));
        }
        (sums.name, sums.kind, sums.namespace) = (workload.name, workload.kind, workload.namespace);
        sums.host = record.sensor.as_ref().map(|sensor| sensor.host.clone()).unwrap_or_default();
    }

    /// Writes them as CSV.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        writeln!(out, "{}", names.join(","))?;
        for (group, sums) in &self.rows {
            let row = Row { group, sums };
            let cells: Vec<String> = COLUMNS.iter().map(|(_, value)| quoted(value(&row))).collect();
            writeln!(out, "{}", cells.join(","))?;
        }
        Ok(())
    }
}

/// A cell (RFC 4180).
fn quoted(text: String) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

fn time(nanoseconds: u64) -> String {
    zoned(nanoseconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Start of the month of a time, or of one of the next.
fn month(nanoseconds: u64, later: i64) -> String {
    let first = zoned(nanoseconds).first_of_month().and_then(|day| day.start_of_day());
    let month = first.and_then(|day| day.checked_add(later.months()));
    month.map(|day| day.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

fn zoned(nanoseconds: u64) -> Zoned {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default().to_zoned(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn calls_of_an_hour_are_summed_exactly() {
        let mut charges = Charges::default();
        for record in samples::all().iter().chain(&samples::all()) {
            charges.add(record);
        }
        let mut out = Vec::new();
        charges.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("AllocatedMethodDetails,") && lines[0].ends_with(",x_OutputTokens"));
        for part in [
            ",2023-11-14T23:00:00Z,2023-11-14T22:00:00Z,",
            ",2023-12-01T00:00:00Z,2023-11-01T00:00:00Z,",
            ",0.0246,",
            ",2,0,kw1-",
            "\"{\"\"host\"\":\"\"node-1\"\"",
        ] {
            assert!(lines[1].contains(part), "{part}: {}", lines[1]);
        }
    }

    #[test]
    fn columns_are_in_the_order_of_the_specification_each_once() {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert_eq!(names.iter().filter(|name| !name.starts_with("x_")).count(), 65);
    }
}
