//! The phases of a run with chaos: as those of any other, with cuts while the sessions send.

use std::sync::Arc;
use std::time::Duration;

use pogu::{Core, Reconnect, Refusal};
use pogu_chaos::{Proxy, ProxyError};

use super::super::Options;
use super::super::helm::{Helm, Patience};
use super::super::outcome::Outcome;
use super::super::progress::{Phase, Sight};
use super::super::run::{CONNECT_PATIENCE, Watch, close, nobody_answers, service};
use super::super::state::Stage;
use super::crew::Crew;
use super::judge::judge;
use super::visitor::Visitor;
use crate::failure::Failure;

/// Who was cut is dialled again within this time, and within ten times this if that brings nothing.
const BACK_WITHIN: Duration = Duration::from_millis(200);

pub(in super::super) fn run(options: &Options, helm: Helm<'_>) -> Result<Outcome, Failure> {
    let mistreatment = options.chaos.clone().unwrap_or_default();
    let proxy = Proxy::start(&options.target, options.driver, mistreatment)?;
    proxy.allow_cuts(false);
    let core = Core::builder().workers(options.workers).driver(options.driver).start()?;
    let crew = Arc::new(Crew::new(options, core.now()));
    let reconnect = Reconnect::default().window_first(BACK_WITHIN).window_max(10 * BACK_WITHIN);
    let through_proxy = Options { target: proxy.address().to_string(), ..options.clone() };
    let handle = core.connect(service(&through_proxy).reconnect(reconnect), {
        let crew = Arc::clone(&crew);
        move |incoming| match crew.take_place() {
            Some(visit) => Ok(Visitor::new(Arc::clone(&crew), visit, incoming.worker)),
            None => Err(Refusal::new("there are enough sessions")),
        }
    })?;
    let mut watch = Watch { core: &core, shared: Arc::clone(&crew.shared), handle, helm };
    let sent = phases(&mut watch, &proxy);
    watch.helm.end();
    let sending_time = sent?;
    let Watch { shared, helm, .. } = watch;
    let (mut outcome, _) = close(core, &shared, &helm, sending_time)?;
    judge(&crew, &proxy.stop()?, &mut outcome);
    Ok(outcome)
}

/// Everything up to the close. For how long the sessions sent.
fn phases(watch: &mut Watch<'_, '_>, proxy: &Proxy) -> Result<Duration, Failure> {
    watch.connect()?;
    let sessions = watch.shared.options.sessions;
    if watch.shared.count_stage(|stage| stage == Stage::Away) == sessions && !watch.helm.is_interrupted() {
        return Err(nobody_answers(&watch.handle, sessions as u64));
    }
    watch.helm.step()?;
    watch.join()?;
    watch.helm.step()?;
    proxy.allow_cuts(true);
    let sending_time = watch.send()?;
    proxy.allow_cuts(false);
    wait_for_all(watch)?;
    wait_for_silence(watch)?;
    // A cut that was still under way has come through meanwhile.
    wait_for_all(watch)?;
    watch.helm.step()?;
    Ok(sending_time)
}

/// Those who were cut come back.
fn wait_for_all(watch: &mut Watch<'_, '_>) -> Result<(), Failure> {
    let mut patience = Patience::new(CONNECT_PATIENCE, watch.core.now());
    while !watch.helm.is_interrupted() {
        let sessions = watch.shared.options.sessions as u64;
        let back = watch.shared.count_stage(|stage| stage == Stage::Done) as u64;
        show(watch, back, sessions);
        if back == sessions || patience.is_over(back, watch.core.now()) {
            break;
        }
        watch.nap()?;
    }
    Ok(())
}

/// What is still under way comes. When that is all nobody can tell who does not know what the server saw: when nothing has come
/// for a while.
fn wait_for_silence(watch: &mut Watch<'_, '_>) -> Result<(), Failure> {
    let mut patience = Patience::new(watch.shared.options.patience, watch.core.now());
    loop {
        let (_, received) = watch.totals();
        show(watch, 0, 1);
        if patience.is_over(received, watch.core.now()) {
            return Ok(());
        }
        watch.nap()?;
    }
}

fn show(watch: &mut Watch<'_, '_>, done: u64, total: u64) {
    let (sent, received) = watch.totals();
    let now = watch.core.now();
    watch.helm.show(Sight { sent, received, ..Sight::new(Phase::Draining, now, done, total) });
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Failure {
        match error {
            ProxyError::Driver(_) => Failure::Usage(error.to_string()),
            _ => Failure::Run(format!("the proxy failed: {error}")),
        }
    }
}
