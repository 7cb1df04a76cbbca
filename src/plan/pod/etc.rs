//! The files that every container finds in `/etc`: hosts, hostname, resolv.conf, as text.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

/// Longest hostname (Linux' limit).
const MAX_HOSTNAME: usize = 63;

/// How the cluster and the node resolve names.
#[derive(Debug, Clone, Copy)]
pub struct Dns<'a> {
    /// The cluster's server, where there is one.
    pub server: Option<IpAddr>,
    /// `cluster.local`.
    pub domain: &'a str,
    /// The node's own `/etc/resolv.conf`.
    pub node: &'a str,
}

/// The hostname inside the pod.
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.hostname_override.as_deref().or(spec.hostname.as_deref()));
    let name = own.filter(|name| !name.is_empty()).or(pod.metadata.name.as_deref()).unwrap_or_default();
    let cut: String = name.chars().take(MAX_HOSTNAME).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// `/etc/hosts` of a pod with its own network.
pub fn hosts(pod: &Pod, ips: &[IpAddr], domain: &str) -> String {
    let mut out = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let name = hostname(pod);
    let spec = pod.spec.as_ref();
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|subdomain| !subdomain.is_empty());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for ip in ips {
        match subdomain {
            Some(subdomain) => {
                out.push_str(&format!("{ip}\t{name}.{subdomain}.{namespace}.svc.{domain}\t{name}\n"));
            }
            None => out.push_str(&format!("{ip}\t{name}\n")),
        }
    }
    out + &aliases(pod)
}

/// What `hostAliases` add.
pub fn aliases(pod: &Pod) -> String {
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if aliases.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        out.push_str(&format!(
            "{}\t{}\n",
            alias.ip,
            alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
        ));
    }
    out
}

/// `/etc/resolv.conf`, as `dnsPolicy` and `dnsConfig` say.
pub fn resolv_conf(pod: &Pod, dns: &Dns<'_>) -> String {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let mut conf = match (policy, dns.server) {
        ("None", _) => Conf::default(),
        ("ClusterFirst", Some(server)) if !host_network => Conf::cluster(pod, server, dns),
        ("ClusterFirstWithHostNet", Some(server)) => Conf::cluster(pod, server, dns),
        _ => Conf::parse(dns.node),
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        conf.servers.extend(own.nameservers.iter().flatten().cloned());
        conf.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            conf.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            conf.options.push(option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")));
        }
    }
    conf.print()
}

#[derive(Default)]
struct Conf {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Conf {
    fn cluster(pod: &Pod, server: IpAddr, dns: &Dns<'_>) -> Self {
        let (namespace, domain) = (pod.metadata.namespace.as_deref().unwrap_or_default(), dns.domain);
        let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
        searches.extend(Self::parse(dns.node).searches);
        Self { servers: vec![server.to_string()], searches, options: vec!["ndots:5".to_owned()] }
    }

    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => conf.servers.extend(words.next()),
                Some("search" | "domain") => conf.searches = words.collect(),
                Some("options") => conf.options = words.collect(),
                _ => {}
            }
        }
        conf
    }

    fn print(mut self) -> String {
        let mut out = String::new();
        let mut seen = Vec::new();
        self.searches.retain(|one| !seen.contains(one) && (seen.push(one.clone()), true).1);
        if !self.searches.is_empty() {
            out.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        self.servers.iter().for_each(|server| out.push_str(&format!("nameserver {server}\n")));
        if !self.options.is_empty() {
            out.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        out
    }
}
