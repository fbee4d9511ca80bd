//! `relay status --watch`: how it stands, on a terminal, in the words of `relay status`. It only reads.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};
use sqlx::PgConnection;
use terminal::{age, printable, table, unusable};
use tokio::sync::watch;

use crate::config::Database;
use crate::standing::{Standing, blocker_rows, consumer_rows, group_rows, in_a_line, stream_rows};
use crate::store;
use crate::verdict::{Level, Told, judge};

/// Keys are listened to so often: quick for a person, nothing for a processor.
const KEYS_EVERY: Duration = Duration::from_millis(50);
/// Looking more often would be load, not news.
const EVERY_MIN: Duration = Duration::from_millis(200);
/// So many looks are kept for the curves.
const LOOKS_MAX: usize = 512;
/// Postgres has so long for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const CURVES_HEIGHT: u16 = 6;
/// So many findings stand at the top.
const FINDINGS_MAX: usize = 4;

/// One look: how it stands, or why Postgres did not say.
type Look = Result<Standing, String>;

/// Shows it until somebody presses q, or a signal comes.
pub(crate) async fn watch(database: Database, every: Duration) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() {
        return Err(unusable("--watch needs a terminal; for programs there is `relay status --json`"));
    }
    if every < EVERY_MIN {
        return Err(unusable("--every is too short: 200ms is the least"));
    }
    // What is wrong with the settings or the tables is said in plain text, before there is a screen.
    let mut db = database.connect().await?;
    store::tables(&mut db, &database.schema).await?;
    let (tell, mut looks) = watch::channel(None);
    let looking = tokio::spawn(keep_looking(db, database, every, tell));
    let asked_to_stop = std::pin::pin!(terminal::asked_to_stop());
    let mut screen = ratatui::try_init()?;
    let outcome = tokio::select! {
        outcome = show(&mut screen, &mut looks, every) => outcome,
        () = asked_to_stop => Ok(()),
    };
    ratatui::try_restore()?;
    looking.abort();
    Ok(outcome?)
}

/// Looks again and again. After a failure it connects anew.
async fn keep_looking(db: PgConnection, database: Database, every: Duration, tell: watch::Sender<Option<Look>>) {
    let mut db = Some(db);
    loop {
        let look = match tokio::time::timeout(ANSWER_MAX, look(&mut db, &database)).await {
            Ok(look) => look,
            Err(_) => Err(format!("no answer within {}", age(ANSWER_MAX.as_secs_f64()))),
        };
        if look.is_err() {
            db = None;
        }
        if tell.send(Some(look)).is_err() {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

async fn look(db: &mut Option<PgConnection>, database: &Database) -> Look {
    let said = |error: sqlx::Error| outbox::in_words(&error);
    if db.is_none() {
        *db = Some(database.connect().await.map_err(|error| error.to_string())?);
    }
    match db {
        Some(db) => Standing::read(db).await.map_err(said),
        None => Err("there is no connection".to_owned()),
    }
}

async fn show(
    terminal: &mut ratatui::DefaultTerminal,
    looks: &mut watch::Receiver<Option<Look>>,
    every: Duration,
) -> std::io::Result<()> {
    let mut screen = Screen::new(every);
    let mut ticks = tokio::time::interval(KEYS_EVERY);
    loop {
        let mut changed = false;
        if looks.has_changed().unwrap_or(false)
            && let Some(look) = looks.borrow_and_update().clone()
        {
            screen.take(look, Instant::now());
            changed = true;
        }
        while event::poll(Duration::ZERO)? {
            changed = true;
            if let Event::Key(key) = event::read()?
                && !screen.press(key)
            {
                return Ok(());
            }
        }
        // While Postgres is away the time since then is told, too.
        if changed || screen.trouble.is_some() {
            terminal.draw(|frame| screen.draw(frame, Instant::now()))?;
        }
        ticks.tick().await;
    }
}

/// What is shown. Knows neither a terminal nor a database.
struct Screen {
    every: Duration,
    standing: Option<Standing>,
    /// Since when Postgres does not say how it stands, and why.
    trouble: Option<(Instant, String)>,
    sent: VecDeque<u64>,
    unsent: VecDeque<u64>,
    /// Held still: what comes meanwhile is not shown.
    still: bool,
    /// So many lines of the tables lie above the screen.
    above: u16,
}

impl Screen {
    fn new(every: Duration) -> Self {
        Self {
            every,
            standing: None,
            trouble: None,
            sent: VecDeque::new(),
            unsent: VecDeque::new(),
            still: false,
            above: 0,
        }
    }

    fn take(&mut self, look: Look, now: Instant) {
        if self.still {
            return;
        }
        match look {
            Ok(standing) => {
                keep(&mut self.sent, standing.sent_per_second().round() as u64);
                keep(&mut self.unsent, standing.unsent().unsigned_abs());
                self.standing = Some(standing);
                self.trouble = None;
            }
            Err(why) => {
                let since = self.trouble.take().map_or(now, |(since, _)| since);
                self.trouble = Some((since, why));
            }
        }
    }

    /// `false`: the key means the end.
    fn press(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return true;
        }
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char(' ') => self.still = !self.still,
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.above = self.above.saturating_add(1),
            KeyCode::PageUp => self.above = self.above.saturating_sub(10),
            KeyCode::PageDown => self.above = self.above.saturating_add(10),
            KeyCode::Home => self.above = 0,
            _ => {}
        }
        true
    }

    fn draw(&mut self, frame: &mut Frame, now: Instant) {
        let tall = frame.area().height > 20;
        let head_lines = self.head(now);
        let [head, curves, body, foot] = Layout::vertical([
            Constraint::Length(head_lines.len() as u16 + 1),
            Constraint::Length(if tall { CURVES_HEIGHT } else { 0 }),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(head_lines), head);
        if tall {
            let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(curves);
            curve(frame, left, "sent per second", &self.sent, Color::Cyan);
            curve(frame, right, "unsent", &self.unsent, Color::Yellow);
        }
        let lines = self.tables();
        let hidden = (lines.len() as u16).saturating_sub(body.height);
        self.above = self.above.min(hidden);
        let more = hidden - self.above;
        frame.render_widget(Paragraph::new(lines).scroll((self.above, 0)), body);
        frame.render_widget(Paragraph::new(self.foot(more)), foot);
    }

    fn head(&self, now: Instant) -> Vec<Line<'static>> {
        let verdict = match (&self.trouble, &self.standing) {
            (Some((since, why)), _) => {
                let seconds = Some(now.saturating_duration_since(*since).as_secs_f64());
                judge(Told::Nothing { why, seconds }, None, Timestamp::now())
            }
            (None, Some(standing)) => standing.verdict(),
            (None, None) => return vec![Line::from(" asking Postgres")],
        };
        let mut lines: Vec<Line> = verdict
            .findings
            .iter()
            .take(FINDINGS_MAX)
            .map(|finding| {
                let (sign, colour) = look_of(finding.level);
                Line::from(format!(" {sign} {}", printable(&in_a_line(finding)))).style(Style::new().fg(colour))
            })
            .collect();
        lines[0].style = lines[0].style.add_modifier(Modifier::BOLD);
        if let Some(standing) = &self.standing {
            lines.extend(
                standing.sentences().iter().take(1).map(|one| Line::from(format!("   {}", printable(one))).dim()),
            );
        }
        lines
    }

    fn tables(&self) -> Vec<Line<'static>> {
        let Some(standing) = &self.standing else { return vec![] };
        let mut lines: Vec<Line> = vec![];
        let mut add = |text: String, empty: &'static str| {
            let mut rows = text.lines().map(str::to_owned);
            if let Some(head) = rows.next() {
                lines.push(Line::from(format!(" {head}")).bold());
            }
            let before = lines.len();
            lines.extend(rows.map(|row| Line::from(format!(" {row}"))));
            if lines.len() == before {
                lines.push(Line::from(format!(" {empty}")).dim());
            }
            lines.push(Line::default());
        };
        add(table(&stream_rows(&standing.streams)), "no stream yet: nothing was written");
        add(table(&group_rows(&standing.groups)), "no group reads");
        if !standing.consumers.is_empty() {
            add(table(&consumer_rows(&standing.consumers)), "");
        }
        if !standing.blockers.is_empty() {
            add(table(&blocker_rows(&standing.blockers)), "");
        }
        lines
    }

    fn foot(&self, more: u16) -> Line<'static> {
        let mut spans = vec![
            Span::from(" q").bold(),
            Span::from(" end   "),
            Span::from("space").bold(),
            Span::from(if self.still { " go on   " } else { " hold still   " }),
        ];
        spans.push(match self.still {
            true => Span::from("held still").style(Style::new().fg(Color::Black).bg(Color::Yellow)),
            false => Span::from(format!("every {}", age(self.every.as_secs_f64()))).dim(),
        });
        if more > 0 {
            spans.push(Span::from(format!("   ↓ {more} more lines")));
        }
        Line::from(spans)
    }
}

/// A sign beside each colour: not everybody sees colours.
fn look_of(level: Level) -> (&'static str, Color) {
    match level {
        Level::Stuck => ("✕", Color::Red),
        Level::Paused => ("‖", Color::Magenta),
        Level::Behind => ("…", Color::Yellow),
        Level::Look => ("!", Color::Yellow),
        Level::Well => ("✓", Color::Green),
    }
}

fn keep(curve: &mut VecDeque<u64>, value: u64) {
    curve.push_back(value);
    if curve.len() > LOOKS_MAX {
        curve.pop_front();
    }
}

/// The newest values, at the right edge, under their name and the last of them.
fn curve(frame: &mut Frame, area: Rect, name: &str, values: &VecDeque<u64>, colour: Color) {
    let shown = values.len().min(area.width as usize);
    let mut bars = vec![0; area.width as usize - shown];
    bars.extend(values.iter().skip(values.len() - shown));
    let most = bars.iter().max().copied().unwrap_or_default();
    let last = values.back().copied().unwrap_or_default();
    let title = format!(" {name}: {last}   (at most {most}) ");
    let sparkline = Sparkline::default().data(&bars).style(Style::new().fg(colour));
    frame.render_widget(sparkline.block(Block::new().borders(Borders::TOP).title(title)), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::tests::quiet;
    use crate::store::people::StreamStatus;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// The screen as text, without the blanks at the ends of lines.
    fn drawn(screen: &mut Screen, width: u16, height: u16, now: Instant) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no terminal is needed");
        terminal.draw(|frame| screen.draw(frame, now)).expect("it draws");
        let buffer = terminal.backend().buffer();
        let lines = (0..height).map(|y| {
            let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn it_shows_what_status_says_under_a_verdict() {
        let (mut screen, now) = (Screen::new(Duration::from_secs(1)), Instant::now());
        assert!(drawn(&mut screen, 100, 24, now).contains("asking Postgres"));
        screen.take(Ok(quiet()), now);
        let text = drawn(&mut screen, 100, 24, now);
        assert!(text.starts_with(" ✓ All is well: nothing waits longer than 2 s."), "{text}");
        for words in
            ["everything is final up to number 41", "sent per second: 0", "orders", "billing", "q end", "every 1.0s"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn a_postgres_that_is_away_leaves_the_last_picture_and_the_time() {
        let (mut screen, now) = (Screen::new(Duration::from_secs(1)), Instant::now());
        screen.take(Ok(quiet()), now);
        screen.take(Err("refused".into()), now);
        screen.take(Err("refused".into()), now + Duration::from_secs(5));
        let text = drawn(&mut screen, 100, 24, now + Duration::from_secs(12));
        assert!(text.starts_with(" ✕ Postgres has not said for 12 s how it stands. refused"), "{text}");
        assert!(text.contains("billing"));
        screen.take(Ok(quiet()), now);
        assert!(drawn(&mut screen, 100, 24, now).starts_with(" ✓"));
    }

    #[test]
    fn held_still_nothing_moves() {
        let (mut screen, now) = (Screen::new(Duration::from_secs(1)), Instant::now());
        screen.take(Ok(quiet()), now);
        assert!(screen.press(key(KeyCode::Char(' '))));
        let before = drawn(&mut screen, 100, 24, now);
        let mut other = quiet();
        other.streams[0].unsent = 9_999;
        screen.take(Ok(other.clone()), now);
        assert_eq!(drawn(&mut screen, 100, 24, now), before);
        assert!(screen.press(key(KeyCode::Char(' '))));
        screen.take(Ok(other), now);
        assert!(drawn(&mut screen, 100, 24, now).contains("9999"));
    }

    #[test]
    fn a_small_terminal_scrolls_and_says_how_much_is_below() {
        let (mut screen, now) = (Screen::new(Duration::from_secs(1)), Instant::now());
        let mut standing = quiet();
        let named = |nth| StreamStatus { stream: format!("stream-{nth}"), ..standing.streams[0].clone() };
        standing.streams = (0..30).map(named).collect();
        screen.take(Ok(standing), now);
        let text = drawn(&mut screen, 60, 12, now);
        assert!(text.contains("stream-0 ") && !text.contains("stream-20"), "{text}");
        assert!(text.contains("more lines"), "{text}");
        for _ in 0..200 {
            screen.press(key(KeyCode::Down));
        }
        let text = drawn(&mut screen, 60, 12, now);
        assert!(text.contains("billing") && !text.contains("more lines"), "{text}");
        screen.press(key(KeyCode::Home));
        assert!(drawn(&mut screen, 60, 12, now).contains("stream-0 "));
        // However small, it draws.
        for (width, height) in [(1, 1), (3, 4), (20, 21)] {
            drawn(&mut screen, width, height, now);
        }
    }

    #[test]
    fn q_escape_and_control_c_end_it() {
        let mut screen = Screen::new(Duration::from_secs(1));
        assert!(!screen.press(key(KeyCode::Char('q'))));
        assert!(!screen.press(key(KeyCode::Esc)));
        assert!(!screen.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(screen.press(key(KeyCode::Char('x'))));
    }
}
