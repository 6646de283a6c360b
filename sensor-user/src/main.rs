//! `keywitness`.

fn main() -> std::process::ExitCode {
    sensor_user::cli::main()
}
