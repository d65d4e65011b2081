//! `watchbell demo`: the whole product in one process, to watch.
//!
//! The point: nothing to install and nothing to configure: an in-process broker, SQLite, the provider simulators, a sample workspace,
//! phones that are enrolled at the API and sign their answers, and events that keep flowing, through the same worker and the same API that
//! run in production. Each notification is printed as its phone shows it, what policy suppressed with the reason, each answer, and what
//! upstream hears.
//!
//! It deliberately keeps nothing: everything lives in a temporary folder that goes with it, at Ctrl-C and SIGTERM too. The in-process
//! broker forgets, so nothing here says anything about delivery guarantees; the tests against a real broker do.
mod people;
mod scenes;
mod screen;
mod stage;
mod upstream;

use std::time::Duration;

use clap::Args;

use super::Failure;
use super::stop::Stop;
use scenes::Scenes;
use screen::Screen;
use stage::Stage;

/// Between two looks at the phones.
const LOOK: Duration = Duration::from_millis(50);
/// Between two scenes: enough to read one, and for people to answer.
const SCENE: Duration = Duration::from_millis(2000);
/// How long the last notifications may take after the last scene.
const LAST: Duration = Duration::from_secs(2);

/// See the whole product at work in this terminal, with everything embedded.
#[derive(Args)]
pub(super) struct DemoCommand {
    /// Print notifications as text. The only way of showing them there is.
    #[arg(long)]
    text: bool,
    /// End by itself after this many scenes, instead of at Ctrl-C or SIGTERM.
    #[arg(long, value_name = "N")]
    scenes: Option<u64>,
}

impl DemoCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.text {
            return Err(Failure::Usage("say --text: the demo shows itself as text in this terminal".into()));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
        runtime.block_on(play(self.scenes))
    }
}

async fn play(scenes: Option<u64>) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let mut screen = Screen::new();
    screen.opening();
    // Boxed: it starts everything, once.
    let stage = tokio::select! {
        stage = Box::pin(Stage::set()) => stage?,
        () = stop.asked() => return Ok(()),
    };
    screen.ready(&stage);
    let mut script = Scenes::new();
    let mut next = tokio::time::interval(SCENE);
    let mut look = tokio::time::interval(LOOK);
    let mut left = scenes;
    while screen.is_watched() {
        tokio::select! {
            () = stop.asked() => break,
            _ = look.tick() => screen.show(&stage),
            _ = next.tick() => {
                if left == Some(0) {
                    break;
                }
                left = left.map(|left| left - 1);
                screen.scene(script.play(&stage)?);
            }
        }
    }
    let until = tokio::time::Instant::now() + LAST;
    while screen.is_watched() && tokio::time::Instant::now() < until {
        look.tick().await;
        screen.show(&stage);
    }
    let balance = stage.balance();
    stage.strike().await;
    screen.summary(&balance);
    Ok(())
}
