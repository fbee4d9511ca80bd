//! Bisan's binary: parse, run, exit code.

fn main() -> std::process::ExitCode {
    let cli = match terminal::parse::<bisan::Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // One thread for all that waits; the file is read and written on threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
    let runtime = runtime.expect("a runtime with one thread can always be built");
    match runtime.block_on(bisan::run(cli)) {
        Ok(code) => code,
        Err(error) => terminal::complain("bisan", &error),
    }
}
