//! `GET .../log`: a container's output as plain text.

use http::Response;

use super::answer;
use super::body::{self, Body};
use super::gateway::LogOptions;
use super::pod::Pod;
use super::query::Query;
use super::route::Target;
use super::service::{Service, too_many};
use crate::kube::status::{Cause, Status};
use crate::model::Timestamp;

const PLAIN: &str = "text/plain";

/// Streams a container's log.
pub async fn serve(service: &Service, target: &Target, query: &Query) -> Result<Response<Body>, Status> {
    let pod = Pod::read(service, target).await?;
    let options = options(pod.name(), query, service.registry.world().clock.now())?;
    let container = pod.container(query.get("container"))?;
    if pod.node().is_empty() {
        return Ok(answer::typed(PLAIN, body::empty()));
    }
    if let Some(why) = pod.waiting(&container.container).filter(|_| !options.previous) {
        let (name, pod) = (&container.container, pod.name());
        return Err(Status::bad_request(format!("container {name:?} in pod {pod:?} is waiting to start: {why}")));
    }
    let permit = service.streams.clone().try_acquire_owned().map_err(|_| too_many())?;
    let lines = service.gateway.logs(&container, &options).await?;
    let (held, stop) = (service.metrics.hold_stream(), service.stop.clone());
    let lines = futures::StreamExt::map(lines, move |line| {
        let _while_it_lasts = (&permit, &held);
        line
    });
    let lines = futures::StreamExt::take_until(lines, stop.cancelled_owned());
    Ok(answer::typed(PLAIN, body::stream(lines)))
}

fn options(pod: &str, query: &Query, now: Timestamp) -> Result<LogOptions, Status> {
    let mut causes = Vec::new();
    let mut positive = |name: &str, least: i64, words: &str| {
        let text = query.get(name)?;
        match text.parse::<i64>() {
            Ok(number) if number >= least => u64::try_from(number).ok(),
            Ok(number) => {
                causes.push(Cause::invalid(name, &number.into(), words));
                None
            }
            Err(_) => {
                causes.push(Cause::invalid(name, &text.into(), "must be an integer"));
                None
            }
        }
    };
    let tail_lines = positive("tailLines", 0, "must be greater than or equal to 0");
    let limit_bytes = positive("limitBytes", 1, "must be greater than 0");
    let since_seconds = positive("sinceSeconds", 1, "must be greater than 0");
    let since_time = query.get("sinceTime").map(|text| (text, Timestamp::parse(text)));
    if let Some((text, None)) = since_time {
        causes.push(Cause::invalid("sinceTime", &text.into(), "must be a time as RFC 3339 writes it"));
    }
    if since_time.is_some() && since_seconds.is_some() {
        causes.push(Cause::forbidden("sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if !causes.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", pod, causes));
    }
    let ago = since_seconds.map(|seconds| before(now, seconds));
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines,
        since: since_time.and_then(|(_, time)| time).or(ago),
        limit_bytes,
    })
}

fn before(now: Timestamp, seconds: u64) -> Timestamp {
    let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Timestamp(now.0.saturating_sub(micros))
}
