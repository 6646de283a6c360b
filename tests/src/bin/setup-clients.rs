//! Installs the real clients that the end-to-end tests use.

fn main() -> anyhow::Result<()> {
    keywitness_tests::setup::clients()?;
    keywitness_tests::setup::stacks()
}
