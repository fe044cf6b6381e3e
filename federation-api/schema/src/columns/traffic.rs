//! What a table says of services, ingresses, endpoints and autoscalers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{items, labels, number, or_none, plain, text};

/// What is not said is `ClusterIP`.
pub(super) fn service_type(service: &Value, _: Timestamp) -> Value {
    match text(service, "/spec/type") {
        "" => "ClusterIP".into(),
        kind => kind.into(),
    }
}

pub(super) fn cluster_ip(service: &Value, _: Timestamp) -> Value {
    let first = text(service, "/spec/clusterIPs/0");
    or_none(if first.is_empty() { text(service, "/spec/clusterIP") } else { first }.to_owned())
        .into()
}

pub(super) fn external_ip(service: &Value, _: Timestamp) -> Value {
    let mut addresses = match text(service, "/spec/type") {
        "ExternalName" => return text(service, "/spec/externalName").into(),
        "LoadBalancer" => load_balancer(service),
        _ => Vec::new(),
    };
    addresses.extend(items(service, "/spec/externalIPs").iter().map(plain));
    if addresses.is_empty() {
        return if text(service, "/spec/type") == "LoadBalancer" {
            "<pending>".into()
        } else {
            "<none>".into()
        };
    }
    addresses.join(",").into()
}

fn load_balancer(object: &Value) -> Vec<String> {
    let ingress = items(object, "/status/loadBalancer/ingress").iter();
    let addresses = ingress
        .map(|i| if text(i, "/ip").is_empty() { text(i, "/hostname") } else { text(i, "/ip") });
    let addresses: BTreeSet<&str> = addresses.filter(|a| !a.is_empty()).collect();
    addresses.into_iter().map(str::to_owned).collect()
}

pub(super) fn service_ports(service: &Value, _: Timestamp) -> Value {
    let ports = items(service, "/spec/ports").iter().map(|port| {
        let protocol =
            if text(port, "/protocol").is_empty() { "TCP" } else { text(port, "/protocol") };
        let at = number(port, "/port").unwrap_or(0);
        match number(port, "/nodePort").unwrap_or(0) {
            0 => format!("{at}/{protocol}"),
            node => format!("{at}:{node}/{protocol}"),
        }
    });
    or_none(ports.collect::<Vec<_>>().join(",")).into()
}

pub(super) fn service_selector(service: &Value, _: Timestamp) -> Value {
    labels(service.pointer("/spec/selector")).into()
}

pub(super) fn ingress_hosts(ingress: &Value, _: Timestamp) -> Value {
    let hosts = items(ingress, "/spec/rules").iter().map(|rule| text(rule, "/host"));
    let hosts: Vec<&str> = hosts.filter(|host| !host.is_empty()).collect();
    if hosts.is_empty() { "*".into() } else { at_most(&hosts, 3, ",").into() }
}

pub(super) fn ingress_address(ingress: &Value, _: Timestamp) -> Value {
    load_balancer(ingress).join(",").into()
}

pub(super) fn ingress_ports(ingress: &Value, _: Timestamp) -> Value {
    if items(ingress, "/spec/tls").is_empty() { "80".into() } else { "80, 443".into() }
}

pub(super) fn ingress_class_parameters(class: &Value, _: Timestamp) -> Value {
    let Some(parameters) = class.pointer("/spec/parameters") else { return "<none>".into() };
    let group = match text(parameters, "/apiGroup") {
        "" => String::new(),
        group => format!(".{group}"),
    };
    format!("{}{group}/{}", text(parameters, "/kind"), text(parameters, "/name")).into()
}

/// The first few, and how many more there are.
fn at_most<T: AsRef<str>>(list: &[T], limit: usize, separator: &str) -> String {
    let shown: Vec<&str> = list.iter().take(limit).map(AsRef::as_ref).collect();
    let shown = shown.join(separator);
    match list.len().saturating_sub(limit) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

pub(super) fn endpoints(endpoints: &Value, _: Timestamp) -> Value {
    let mut list = Vec::new();
    for subset in items(endpoints, "/subsets") {
        let addresses: Vec<&str> =
            items(subset, "/addresses").iter().map(|a| text(a, "/ip")).collect();
        let ports = items(subset, "/ports");
        if ports.is_empty() {
            list.extend(addresses.iter().map(|&ip| ip.to_owned()));
        }
        for port in ports {
            let port = number(port, "/port").unwrap_or(0);
            list.extend(addresses.iter().map(|ip| {
                if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
            }));
        }
    }
    or_none(at_most(&list, 3, ",")).into()
}

pub(super) fn slice_ports(slice: &Value, _: Timestamp) -> Value {
    let ports: Vec<String> = items(slice, "/ports")
        .iter()
        .map(|port| match (number(port, "/port"), text(port, "/name")) {
            (Some(number), _) => number.to_string(),
            (None, "") => "*".to_owned(),
            (None, name) => name.to_owned(),
        })
        .collect();
    if ports.is_empty() { "<unset>".into() } else { at_most(&ports, 3, ",").into() }
}

pub(super) fn slice_endpoints(slice: &Value, _: Timestamp) -> Value {
    let addresses: Vec<&str> = items(slice, "/endpoints")
        .iter()
        .flat_map(|e| items(e, "/addresses"))
        .filter_map(Value::as_str)
        .collect();
    if addresses.is_empty() { "<unset>".into() } else { at_most(&addresses, 3, ",").into() }
}

pub(super) fn autoscaler_reference(autoscaler: &Value, _: Timestamp) -> Value {
    let target = "/spec/scaleTargetRef";
    let part = |name| text(autoscaler, &format!("{target}/{name}"));
    format!("{}/{}", part("kind"), part("name")).into()
}

pub(super) fn autoscaler_targets(autoscaler: &Value, _: Timestamp) -> Value {
    // autoscaling/v1 knows only processor use.
    if let Some(target) = number(autoscaler, "/spec/targetCPUUtilizationPercentage") {
        let current = number(autoscaler, "/status/currentCPUUtilizationPercentage");
        let current = current.map_or_else(|| "<unknown>".to_owned(), |c| format!("{c}%"));
        return format!("cpu: {current}/{target}%").into();
    }
    let metrics = items(autoscaler, "/spec/metrics");
    let statuses = items(autoscaler, "/status/currentMetrics");
    let list: Vec<String> =
        metrics.iter().enumerate().map(|(at, spec)| metric(spec, statuses.get(at))).collect();
    if list.is_empty() { "<none>".into() } else { at_most(&list, 2, ", ").into() }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let key = match text(spec, "/type") {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let of_resource = key == "resource" || key == "containerResource";
    let prefix =
        if of_resource { format!("{}: ", text(&spec[key], "/name")) } else { String::new() };
    let target = &spec[key]["target"];
    let current =
        |name: &str| status.and_then(|s| s[key]["current"].get(name)).filter(|v| !v.is_null());
    let written = |value: Option<&Value>, unit: &str| {
        value.map_or_else(|| "<unknown>".to_owned(), |v| plain(v) + unit)
    };
    if let Some(average) = target.get("averageValue") {
        let suffix = if key == "object" || key == "external" { " (avg)" } else { "" };
        return format!(
            "{prefix}{}/{}{suffix}",
            written(current("averageValue"), ""),
            plain(average)
        );
    }
    if of_resource {
        let wanted = target
            .get("averageUtilization")
            .map_or_else(|| "<auto>".to_owned(), |v| format!("{}%", plain(v)));
        return format!("{prefix}{}/{wanted}", written(current("averageUtilization"), "%"));
    }
    format!(
        "{}/{}",
        written(current("value"), ""),
        target.get("value").map(plain).unwrap_or_default()
    )
}
