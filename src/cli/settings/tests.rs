//! Layers of settings, and what is refused.

use super::*;

fn load(text: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shoal.toml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        environment: environment.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
        flags: flags.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
    };
    Settings::load(&sources).map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), ""))
}

#[test]
fn the_defaults_set_every_setting_once() {
    let keys: Vec<String> = file::read(DEFAULTS).unwrap().into_iter().map(|entry| entry.key).collect();
    let mut known: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    known.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(sorted, known);
}

#[test]
fn a_later_layer_wins() {
    let text = "name = \"file\"\nruntime = \"hollow\"\nlisten = \":7000\"\n[store]\nhistory = \"10m\"\n";
    let settings = load(text, &[("SHOAL_NAME", "env"), ("SHOAL_LISTEN", "7001")], &[("name", "flag")]).unwrap();
    assert_eq!(settings.node.name, "flag");
    assert_eq!(settings.node.listen.to_string(), "0.0.0.0:7001");
    assert_eq!(settings.node.runtime, RuntimeKind::Hollow);
    assert_eq!(settings.node.store.history, Duration::from_secs(600));
    assert_eq!(settings.node.run, Path::new("/run/shoal"));
}

#[test]
fn drop_ins_come_after_the_file_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("node.toml");
    std::fs::create_dir(dir.path().join("node.d")).unwrap();
    std::fs::write(&main, "name = \"a\"\ndata = \"/x\"").unwrap();
    std::fs::write(dir.path().join("node.d/20.toml"), "name = \"c\"").unwrap();
    std::fs::write(dir.path().join("node.d/10.toml"), "name = \"b\"").unwrap();
    std::fs::write(dir.path().join("node.d/notes.txt"), "not toml").unwrap();
    let settings = Settings::load(&Sources { file: Some(main), ..Sources::default() }).unwrap();
    assert_eq!((settings.node.name.as_str(), settings.node.run.as_path()), ("c", Path::new("/x/run")));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let check = |text: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)], expect: &str| {
        let error = load(text, environment, flags).unwrap_err();
        assert_eq!(error, expect);
    };
    check(
        "\nnetwork.pod_cdir = \"x\"",
        &[],
        &[],
        "/shoal.toml:2: there is no setting \"network.pod_cdir\"; did you mean \"network.pod_cidr\"?",
    );
    check(
        "[nonsense]\nzzz = 1",
        &[],
        &[],
        "/shoal.toml:2: there is no setting \"nonsense.zzz\"; config/REFERENCE.md lists them all",
    );
    check("name = \"a\"\nname = \"b\"", &[], &[], "/shoal.toml:2: duplicate key");
    check(
        "[agent]\n\nmax_pods = 0",
        &[],
        &[],
        "/shoal.toml:3: agent.max_pods takes a number from 1 to 10000, not \"0\"",
    );
    check(
        "",
        &[("SHOAL_LISTEM", "x")],
        &[],
        "environment variable SHOAL_LISTEM: there is no setting \"SHOAL_LISTEM\"; did you mean \"SHOAL_LISTEN\"?",
    );
    check(
        "",
        &[],
        &[("runtime", "docker")],
        "flag --runtime: runtime takes one of auto, containerd, embedded, hollow, not \"docker\"",
    );
    check(
        "[network]\npod_cidr = \"10.100.0.0/24\"",
        &[],
        &[],
        "settings: network.pod_cidr takes a range apart from network.service_cidr (10.96.0.0/12), not \"10.100.0.0/24\"",
    );
}

#[test]
fn a_joining_node_knows_its_seeds_and_where_it_is_dialled() {
    let text = "join = [\"a.example:6443\"]\naddress = \"10.1.2.3\"\n[mesh]\ncertificate_lifetime = \"90m\"\n";
    let settings = load(text, &[("SHOAL_ZONE", "room-1")], &[("join", "10.0.0.1:6443, [fd00::1]:7000")]).unwrap();
    let mesh = &settings.node.mesh;
    assert_eq!(mesh.join, ["10.0.0.1:6443", "[fd00::1]:7000"]);
    assert_eq!((mesh.zone.as_str(), mesh.certificate_lifetime), ("room-1", Duration::from_mins(90)));
    assert_eq!(mesh.advertise, ["10.1.2.3:6443".parse().unwrap()]);
    let text = "mesh.advertise = [\"192.0.2.7:1\", \"[fd00::2]:2\"]";
    assert_eq!(load(text, &[], &[]).unwrap().node.mesh.advertise.len(), 2);
}

#[test]
fn what_cannot_be_joined_or_told_is_refused() {
    for (key, value) in [
        ("join", "10.0.0.1"),
        ("join", "10.0.0.1:0"),
        ("join", "fd00::1:x"),
        ("join", "https://a:6443"),
        ("join", ":6443"),
        ("join", &vec!["a:1"; 65].join(",")),
        ("mesh.advertise", "0.0.0.0:6443"),
        ("mesh.advertise", "a.example:6443"),
        ("mesh.advertise", "10.0.0.1:1,10.0.0.1:2,10.0.0.1:3,10.0.0.1:4,10.0.0.1:5"),
        ("mesh.certificate_lifetime", "59s"),
        ("mesh.certificate_lifetime", "366d"),
        ("zone", "-a"),
        ("zone", "a b"),
        ("network.node_prefix", "12"),
        ("network.vxlan_port", "0"),
        ("network.cluster_cidr", "10.96.0.0/16"),
    ] {
        assert!(load("", &[], &[(key, value)]).is_err(), "{key} = {value}");
    }
}

#[test]
fn without_a_range_of_its_own_a_node_has_the_first_of_the_clusters() {
    let own = |text: &str| load(text, &[], &[]).unwrap().node.network.own_pod_cidr().to_string();
    assert_eq!(own(""), "10.244.0.0/24");
    assert_eq!(own("[network]\ncluster_cidr = \"10.32.0.0/12\"\nnode_prefix = 22"), "10.32.0.0/22");
    assert_eq!(own("[network]\npod_cidr = \"10.7.0.0/26\""), "10.7.0.0/26");
    let network = load("", &[], &[]).unwrap().node.network;
    let cluster = |own: &str| network.cluster_range(own.parse().unwrap()).to_string();
    assert_eq!((cluster("10.244.3.0/24"), cluster("10.7.0.0/26")), ("10.244.0.0/16".into(), "10.7.0.0/26".into()));
}

#[test]
fn a_token_is_no_setting_and_never_shown() {
    let settings = load("", &[("SHOAL_TOKEN", "shoal1.a.b.secret")], &[]).unwrap();
    assert_eq!(settings.node.mesh.token, None, "it is read where it is needed");
    let error = load("", &[("SHOAL_TOKENS", "x")], &[]).unwrap_err();
    assert!(error.contains("SHOAL_TOKENS"), "{error}");
    let shown = format!("{:?}", crate::actors::settings::Secret::new("shoal1.a.b.secret"));
    assert!(!shown.contains("secret\"") && !shown.contains("shoal1"), "{shown}");
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/REFERENCE.md");
    if std::env::var_os("SHOAL_TEST_BLESS").is_some() {
        std::fs::write(&path, reference::text()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), reference::text());
}
