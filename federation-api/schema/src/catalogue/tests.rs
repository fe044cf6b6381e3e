use super::*;
use crate::model::{ListTopology, Shape, StringKind};

fn field<'t>(of: &'t TypeRef, name: &str) -> &'t crate::model::Field {
    let Shape::Struct(shape) = &of.node().shape else { panic!("{} is no struct", of.node().name) };
    &shape.fields[name]
}

/// The type at a path of fields.
fn step(of: &TypeRef, path: &[&str]) -> TypeRef {
    path.iter().fold(of.clone(), |at, name| at.at(field(&at, name).node))
}

fn deployment() -> TypeRef {
    Catalogue::builtin()
        .type_of(&Gvk::new("apps", "v1", "Deployment"))
        .expect("deployments are built in")
}

#[test]
fn every_resource_of_the_default_groups_is_there() {
    let catalogue = Catalogue::builtin();
    assert_eq!(catalogue.resources().len(), 68);
    assert_eq!(catalogue.groups().len(), 21);
    let deployments =
        catalogue.resource("apps", "v1", "deployments").expect("deployments are built in");
    assert_eq!(
        (&*deployments.kind, &*deployments.singular, deployments.namespaced),
        ("Deployment", "deployment", true)
    );
    assert_eq!(deployments.short_names, ["deploy".into()]);
    assert_eq!(deployments.categories, ["all".into()]);
    assert!(deployments.serves("deletecollection"));
    let scale = deployments.subresource("scale").expect("deployments scale");
    assert_eq!((&*scale.group, &*scale.version, &*scale.kind), ("autoscaling", "v1", "Scale"));
    assert_eq!(catalogue.kind("", "v1", "Pod").map(|r| &*r.plural), Some("pods"));
    let scaling = catalogue
        .groups()
        .iter()
        .find(|(g, _)| &**g == "autoscaling")
        .expect("autoscaling is built in");
    assert_eq!(&*scaling.1[0], "v2", "the preferred version comes first");
    assert!(
        catalogue.groups().iter().all(|(_, versions)| versions.iter().all(|v| !v.contains("beta")))
    );
}

#[test]
fn every_resource_that_can_be_created_has_a_type_and_a_list_where_it_can_be_listed() {
    let catalogue = Catalogue::builtin();
    for resource in catalogue.resources() {
        let gvk = resource.gvk();
        assert!(catalogue.type_of(&gvk).is_some(), "{gvk:?}");
        if resource.serves("list") {
            let list = Gvk { kind: format!("{}List", gvk.kind), ..gvk };
            assert!(catalogue.type_of(&list).is_some(), "{list:?}");
        }
    }
}

#[test]
fn lists_know_their_keys_and_their_keys_defaults() {
    let pod = step(&deployment(), &["spec", "template", "spec"]);
    let containers = step(&pod, &["containers"]);
    let Shape::List { item, topology, patch } = &containers.node().shape else {
        panic!("containers is a list")
    };
    assert_eq!(*topology, ListTopology::Map { keys: vec!["name".into()] });
    assert!(patch.merge && patch.merge_key.as_deref() == Some("name"));
    let container = pod.at(*item);
    let ports = step(&container, &["ports"]);
    let Shape::List { item, topology, .. } = &ports.node().shape else { panic!("ports is a list") };
    assert_eq!(
        *topology,
        ListTopology::Map { keys: vec!["containerPort".into(), "protocol".into()] }
    );
    assert_eq!(field(&pod.at(*item), "protocol").default, Some("TCP".into()));
    let volumes = step(&pod, &["volumes"]);
    let Shape::List { patch, .. } = &volumes.node().shape else { panic!("volumes is a list") };
    assert!(patch.merge && patch.retain_keys);
    let selector = step(&pod, &["nodeSelector"]);
    let Shape::Map { atomic, .. } = &selector.node().shape else { panic!("a map") };
    assert!(atomic);
}

#[test]
fn fields_of_inlined_messages_stand_among_the_others() {
    let volume =
        Catalogue::builtin().type_named("io.k8s.api.core.v1.Volume").expect("volumes are known");
    let names = ["name", "configMap", "emptyDir", "secret"];
    for name in names {
        assert!(field(&volume, name).node.0 > 0);
    }
}

#[test]
fn one_field_may_treat_a_type_otherwise_than_the_rest() {
    let strategy = step(&deployment(), &["spec", "strategy"]);
    let Shape::Struct(strategy) = &strategy.node().shape else { panic!("a struct") };
    assert!(strategy.retain_keys);
    let volume =
        Catalogue::builtin().type_named("io.k8s.api.core.v1.PersistentVolumeSpec").expect("known");
    let claim = step(&volume, &["claimRef"]);
    let Shape::Struct(claim) = &claim.node().shape else { panic!("a struct") };
    assert!(!claim.atomic);
    let reference =
        Catalogue::builtin().type_named("io.k8s.api.core.v1.ObjectReference").expect("known");
    let Shape::Struct(reference) = &reference.node().shape else { panic!("a struct") };
    assert!(reference.atomic);
}

#[test]
fn shared_nodes_are_made_once() {
    let nodes = &Catalogue::builtin().schema().nodes;
    let plain =
        nodes.iter().filter(|n| matches!(n.shape, Shape::String(StringKind::Plain))).count();
    assert_eq!(plain, 1);
    assert!(nodes.len() < 1200, "{} nodes", nodes.len());
}

#[test]
fn options_and_status_are_known_in_every_group() {
    let catalogue = Catalogue::builtin();
    for group in ["", "apps", "example.dev"] {
        assert!(catalogue.type_of(&Gvk::new(group, "v1", "DeleteOptions")).is_some());
    }
    assert!(catalogue.type_of(&Gvk::new("meta.k8s.io", "v1", "PartialObjectMetadata")).is_some());
    assert!(catalogue.type_of(&Gvk::new("example.dev", "v1", "Thing")).is_none());
}

#[test]
fn group_version_kinds_read_api_versions() {
    assert_eq!(Gvk::of("apps/v1", "Deployment"), Gvk::new("apps", "v1", "Deployment"));
    assert_eq!(Gvk::of("v1", "Pod").api_version(), "v1");
}
