//! The keeper: a small shell between a program and its server, so that the server ends with the program.
//!
//! A program that is killed with SIGKILL cannot clean up. The kernel can: it closes the pipe on which the keeper
//! reads its orders, and at that end of file the keeper ends the server, and removes its folder if that was made for it
//! alone. It needs nothing but a POSIX shell, and it lives in a process group of its own, which no Ctrl-C reaches.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::Claim;

/// Its orders, one a line: `+WORD` adds a word to a command, `run` and `start` use that command,
/// `alive` and `end SIGNAL` are about the server that was started. Every order but `+` is answered by one line.
const SCRIPT: &str = r#"
# An answer that nobody reads any more must not end the keeper before it has cleaned up.
trap '' PIPE
kept=$1 last_signal=$3 signals_max=$4 server=
# Its real name: servers report it so, and a temporary folder may be a link (macOS).
if [ "$kept" = no ]; then folder=$(mktemp -d "$2-XXXXXXXX"); else folder=$2; fi
cd "$folder" && folder=$(pwd -P) || exit
shift 4
echo "$folder"

# Again and again, because a server that is still booting can miss a signal, and at last by force.
end() {
    [ -n "$server" ] || return 0
    sent=0
    while kill -s "$1" "$server" 2>/dev/null; do
        sent=$((sent + 1))
        [ "$sent" -lt "$signals_max" ] || kill -s KILL "$server"
        sleep 0.02
    done
    wait "$server"
    server=
}

while IFS= read -r order; do
    case $order in
        +*) set -- "$@" "${order#+}" ;;
        run) "$@" </dev/null >>"$folder/log" 2>&1; echo "$?"; set -- ;;
        # What this shell has as its stderr may be a lock: it is the server's, too.
        start) "$@" </dev/null 9>&2 >>"$folder/log" 2>&1 & server=$!; echo "$server"; set -- ;;
        # jobs: a shell learns only here that its child has ended.
        alive) jobs >/dev/null; if kill -0 "$server" 2>/dev/null; then echo yes; else server=; echo no; fi ;;
        end\ *) end "${order#end }"; echo ended ;;
    esac
done

end "$last_signal"
cd /
[ "$kept" = yes ] || rm -rf "$folder"
"#;

/// A signal goes out each 20 ms; after so many comes the one that nobody survives: 6 seconds for data that is wanted no more,
/// 60 where it is kept.
const SIGNALS_MAX_THROWN_AWAY: &str = "300";
const SIGNALS_MAX_KEPT: &str = "3000";

/// One folder, and at most one server that works in it.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    wire: Mutex<Wire>,
}

/// Dropping it closes `orders`: the keeper's sign to clean up.
#[derive(Debug)]
struct Wire {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _shell: Child,
}

impl Keeper {
    /// A new keeper and its folder, both of the servant if we are root. `last_signal` ends the server at the end of all, when
    /// its data is wanted no more.
    pub fn new(name: &str, last_signal: &str) -> Result<Self> {
        // The keeper makes the folder, so that there is no moment at which a kill leaves one behind.
        let folder = std::env::temp_dir().join(format!("outbox-{name}"));
        Self::begin(&folder, ["no", last_signal, SIGNALS_MAX_THROWN_AWAY], Stdio::null())
    }

    /// A keeper of a folder that stays, and is made if need be. Whoever it starts holds the claim, too. `last_signal` ends the
    /// server in order.
    pub fn of(folder: &Path, last_signal: &str, claim: &Claim) -> Result<Self> {
        make_folder(folder)?;
        Self::begin(folder, ["yes", last_signal, SIGNALS_MAX_KEPT], claim.share()?.into())
    }

    fn begin(folder: &Path, [kept, last_signal, signals_max]: [&str; 3], claim: Stdio) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "keeper", kept]).arg(folder).args([last_signal, signals_max]);
        // The servant may not be allowed into the current folder.
        shell.current_dir("/").process_group(0);
        // C: without a locale, Postgres on macOS starts threads that it then refuses to run with.
        shell.env("LC_ALL", "C");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(claim);
        if let Some(servant) = Servant::needed()? {
            shell.uid(servant.uid).gid(servant.gid);
        }

        let mut shell = shell.spawn().context("cannot start sh")?;
        let orders = shell.stdin.take().context("stdin was piped")?;
        let answers = BufReader::new(shell.stdout.take().context("stdout was piped")?);
        let mut wire = Wire { orders, answers, _shell: shell };
        let folder = wire.answer().with_context(|| format!("cannot use the folder {}", folder.display()))?;
        Ok(Self { folder: folder.into(), wire: Mutex::new(wire) })
    }

    /// Where its server works, by its real name.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a command to its end.
    pub fn run(&self, command: &[&OsStr]) -> Result<()> {
        let status = self.order(command, "run")?;
        ensure!(status == "0", "{} failed:\n{}", command[0].display(), self.log_tail());
        Ok(())
    }

    /// Starts the server.
    pub fn start(&self, command: &[&OsStr]) -> Result<()> {
        self.order(command, "start").map(drop)
    }

    /// Whether the server runs.
    pub fn alive(&self) -> Result<bool> {
        Ok(self.order(&[], "alive")? == "yes")
    }

    /// Signals the server and waits until it is gone; nothing to do if it is.
    pub fn end(&self, signal: &str) -> Result<()> {
        self.order(&[], &format!("end {signal}")).map(drop)
    }

    /// What the server said last, for the message of a failed start.
    pub fn log_tail(&self) -> String {
        const LINES_MAX: usize = 30;
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
    }

    fn order(&self, words: &[&OsStr], verb: &str) -> Result<String> {
        let mut order = Vec::new();
        for word in words {
            ensure!(!word.as_bytes().contains(&b'\n'), "a word of a command has a line break: {word:?}");
            order.push(b'+');
            order.extend_from_slice(word.as_bytes());
            order.push(b'\n');
        }
        order.extend_from_slice(verb.as_bytes());
        order.push(b'\n');

        let mut wire = self.wire.lock().expect("an order does not panic");
        wire.orders.write_all(&order).context("the keeper is gone")?;
        wire.answer()
    }
}

impl Wire {
    fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "the keeper is gone");
        Ok(answer.trim_end_matches('\n').to_owned())
    }
}

/// A folder that belongs to the servant, and nobody else may look into.
fn make_folder(folder: &Path) -> Result<()> {
    let cannot = || format!("cannot make the folder {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    if let Some(servant) = Servant::needed()? {
        std::os::unix::fs::chown(folder, Some(servant.uid), Some(servant.gid)).with_context(cannot)?;
    }
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).with_context(cannot)
}

/// Whether a server may come into a folder: as root it runs as another user, who may not be allowed there.
pub fn can_enter(folder: &Path) -> Result<bool> {
    let Some(servant) = Servant::needed()? else { return Ok(true) };
    let mut shell = Command::new("sh");
    shell.args(["-c", "cd \"$1\"", "sh"]).arg(folder).current_dir("/").uid(servant.uid).gid(servant.gid);
    let status = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(status.context("cannot start sh")?.success())
}

/// Who serves when we are root: Postgres refuses to.
struct Servant {
    uid: u32,
    gid: u32,
}

impl Servant {
    fn needed() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id("-u", name), id("-g", name)) {
                return Ok(Some(Self { uid, gid }));
            }
        }
        bail!("Postgres refuses to run as root, and there is no user `postgres` or `nobody` to run it as")
    }
}

fn id(what: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([what, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
