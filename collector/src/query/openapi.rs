//! The description of the interface (OpenAPI 3.1), made from the table of filter fields.

use attribution::filter::{FIELDS, Field, KINDS, MAX_LAST, Row};
use serde_json::{Value, json};

use super::wanted::{MAX_VALUE, MAX_VALUES};

/// The values of a field, any of which may match.
fn values(row: &Row) -> Value {
    let one = match row.field {
        Field::Kind => json!({"type": "string", "enum": KINDS}),
        Field::MinCost => json!({"type": "string", "pattern": "^[0-9]{1,12}(\\.[0-9]{1,12})?$"}),
        _ => json!({"type": "string", "minLength": 1, "maxLength": MAX_VALUE}),
    };
    json!({"type": "array", "items": one, "maxItems": MAX_VALUES})
}

/// The document.
pub(super) fn document() -> Value {
    let parameter = |name: &str, help: &str, schema: Value| json!({"name": name, "in": "query", "required": false, "description": help, "schema": schema});
    let time = json!({"type": "string", "format": "date-time"});
    let mut parameters = vec![
        parameter("since", "Records from this time on", time.clone()),
        parameter("until", "Records before this time", time),
        parameter(
            "last",
            "Only so many, the newest",
            json!({"type": "integer", "minimum": 1, "maximum": MAX_LAST}),
        ),
    ];
    for row in FIELDS {
        parameters.push(parameter(row.name, row.help, values(row)));
        let help = format!("Leaves out what `{}` matches", row.name);
        parameters.push(parameter(&format!("not.{}", row.name), &help, values(row)));
    }
    let problem = |about: &str| {
        let schema =
            json!({"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}});
        json!({"description": about, "content": {"application/json": {"schema": schema}}})
    };
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keywitness collector",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Records and fleet findings of one tenant, read only.",
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/healthz": {"get": {
                "operationId": "health",
                "summary": "Whether the collector runs",
                "responses": {"200": {"description": "It does", "content": {"text/plain": {"schema": {"type": "string"}}}}},
            }},
            "/openapi.json": {"get": {
                "operationId": "description",
                "summary": "This document",
                "responses": {"200": {"description": "OpenAPI", "content": {"application/json": {"schema": {"type": "object"}}}}},
            }},
            "/v1/records": {"get": {
                "operationId": "records",
                "summary": "Records, oldest first, one JSON object (keywitness.v1.Record) a line; findings are the fleet's",
                "security": [{"token": []}],
                "parameters": parameters,
                "responses": {
                    "200": {"description": "Records", "content": {"application/x-ndjson": {"schema": {"type": "string"}}}},
                    "400": problem("A parameter that means nothing"),
                    "401": problem("No token, or one that is not known"),
                    "429": problem("Too many questions at once"),
                    "503": problem("Tokens cannot be read now"),
                },
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_field_is_described() {
        let document = document();
        let parameters = document["paths"]["/v1/records"]["get"]["parameters"].as_array().unwrap();
        assert_eq!(parameters.len(), 3 + 2 * FIELDS.len());
        assert!(2 * FIELDS.len() * MAX_VALUES <= attribution::filter::MAX_TERMS);
    }
}
