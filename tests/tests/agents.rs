//! Coding agents as people install them: native programs whose TLS libraries have no symbols.

use anyhow::Result;
use keywitness_tests::{matrix, setup};

#[test]
fn calls_of_coding_agents_have_their_process_key_model_tokens_and_flow() -> Result<()> {
    setup::agents()?;
    let outcomes = matrix::run(&matrix::agents())?;
    eprint!("{}", matrix::terminal(&outcomes));
    let complaints: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.complaint.is_empty())
        .map(|outcome| &outcome.complaint)
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
