//! What users add to the catalogue. Nothing built-in is ever replaced; leaving one out has to be said.

use super::catalogue::Problem;
use super::entry::{Additions, Document, ProviderEntry};

/// Puts `additions` into `document`.
pub(super) fn merge(document: &mut Document, additions: Additions) -> Result<(), Problem> {
    for id in &additions.disable {
        let id = id.get_ref();
        let before = document.provider.len();
        document.provider.retain(|entry| entry.id.get_ref() != id);
        if document.provider.len() == before {
            let why = "there is no built-in provider with this id";
            return Err(Problem::new(&format!("disable `{id}`"), id, id, why));
        }
    }
    for (id, family) in additions.family {
        let id = id.into_inner();
        if document.family.contains_key(&id) {
            let why = "a built-in family cannot be changed; choose another id";
            return Err(Problem::new(&format!("family `{id}`"), &id, &id, why));
        }
        document.family.insert(id, family);
    }
    let built_in = document.provider.len();
    for entry in additions.provider {
        let id = entry.id.get_ref();
        match document.provider.iter().take(built_in).position(|known| known.id.get_ref() == id) {
            Some(at) => {
                if let Some(known) = document.provider.get_mut(at) {
                    extend(known, entry)?;
                }
            }
            None => document.provider.push(entry),
        }
    }
    document.credential_file.extend(additions.credential_file);
    document.client.extend(additions.client);
    Ok(())
}

/// Adds the lists of `more` to `known`.
fn extend(known: &mut ProviderEntry, more: ProviderEntry) -> Result<(), Problem> {
    let ProviderEntry {
        id,
        otel,
        gateway,
        self_hosted,
        opaque,
        billing,
        hosts,
        suffixes,
        shared_suffixes,
        patterns,
        addresses,
        path_prefixes,
        ports,
        token_hosts,
        token_paths,
        resource_label,
        key_variables,
        other_variables,
        carriers,
        short_lived_if,
        attribution_headers,
        attribution_body,
        attribution_path,
        model_in,
        request_encodings,
        request_id_header,
        response_headers,
        detect_headers,
        rate_limit_headers,
        families,
        http,
        operations,
        key,
    } = more;
    let id = id.into_inner();
    let fixed = [
        ("otel", otel.is_some()),
        ("gateway", gateway),
        ("self_hosted", self_hosted),
        ("opaque", opaque),
        ("billing", billing.is_some()),
        ("resource_label", resource_label.is_some()),
        ("request_id_header", request_id_header.is_some()),
        ("http", http.is_some()),
        // The first prefix would take away every other path.
        ("path_prefixes", !path_prefixes.is_empty() && known.path_prefixes.is_empty()),
    ];
    if let Some((field, _)) = fixed.into_iter().find(|(_, set)| *set) {
        let why = format!("`{field}` of a built-in provider cannot be set; add an entry with another id");
        return Err(Problem::new(&format!("provider `{id}`"), &id, field, why));
    }
    unite(&mut known.hosts, hosts);
    unite(&mut known.suffixes, suffixes);
    unite(&mut known.shared_suffixes, shared_suffixes);
    unite(&mut known.patterns, patterns);
    unite(&mut known.addresses, addresses);
    unite(&mut known.path_prefixes, path_prefixes);
    unite(&mut known.ports, ports);
    unite(&mut known.token_hosts, token_hosts);
    unite(&mut known.token_paths, token_paths);
    unite(&mut known.key_variables, key_variables);
    unite(&mut known.other_variables, other_variables);
    unite(&mut known.carriers, carriers);
    unite(&mut known.short_lived_if, short_lived_if);
    unite(&mut known.attribution_headers, attribution_headers);
    unite(&mut known.attribution_body, attribution_body);
    unite(&mut known.attribution_path, attribution_path);
    unite(&mut known.model_in, model_in);
    unite(&mut known.request_encodings, request_encodings);
    unite(&mut known.response_headers, response_headers);
    unite(&mut known.detect_headers, detect_headers);
    unite(&mut known.rate_limit_headers, rate_limit_headers);
    unite(&mut known.families, families);
    unite(&mut known.key, key);
    for (operation, patterns) in operations {
        unite(known.operations.entry(operation).or_default(), patterns);
    }
    Ok(())
}

fn unite<T: PartialEq>(known: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !known.contains(&item) {
            known.push(item);
        }
    }
}
