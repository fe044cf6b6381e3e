//! Which node a pod goes to: the one with the most free CPU that has room for it. Pure.

use federation_types::quantity;
use serde_json::Value;

/// What a pod asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Thousandths of a CPU.
    cpu: i64,
    memory: i64,
}

impl Needs {
    /// Of a pod's spec.
    pub(crate) fn of(spec: &Value) -> Self {
        let mut needs = Self::default();
        for container in spec["containers"].as_array().into_iter().flatten() {
            let requests = &container["resources"]["requests"];
            let amount = |resource: &str| {
                let text = match &requests[resource] {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return 0,
                };
                quantity::units(resource, &text).unwrap_or(0)
            };
            needs.cpu += amount("cpu");
            needs.memory += amount("memory");
        }
        needs
    }
}

/// A node's free room.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    cpu: i64,
    memory: i64,
    pods: i64,
}

impl Slot {
    pub(crate) fn new(name: String, cpu: &str, memory: &str, pods: u32) -> Self {
        let units = |resource, text| quantity::units(resource, text).unwrap_or(0);
        Self { name, cpu: units("cpu", cpu), memory: units("memory", memory), pods: pods.into() }
    }

    fn fits(&self, needs: Needs) -> bool {
        self.pods > 0 && self.cpu >= needs.cpu && self.memory >= needs.memory
    }

    fn take(&mut self, needs: Needs) {
        self.cpu -= needs.cpu;
        self.memory -= needs.memory;
        self.pods -= 1;
    }

    fn give_back(&mut self, needs: Needs) {
        self.cpu += needs.cpu;
        self.memory += needs.memory;
        self.pods += 1;
    }
}

/// Puts a pod on the best node; its index, or none where it has to wait.
pub(crate) fn place(slots: &mut [Slot], needs: Needs) -> Option<usize> {
    let (at, slot) = slots
        .iter_mut()
        .enumerate()
        .filter(|(_, it)| it.fits(needs))
        .max_by_key(|(at, it)| (it.cpu, it.memory, std::cmp::Reverse(*at)))?;
    slot.take(needs);
    Some(at)
}

/// Puts a pod on a node that was chosen for it, if it fits.
pub(crate) fn place_on(slots: &mut [Slot], at: usize, needs: Needs) -> Option<usize> {
    let slot = slots.get_mut(at).filter(|it| it.fits(needs))?;
    slot.take(needs);
    Some(at)
}

/// Gives a pod's room back.
pub(crate) fn release(slots: &mut [Slot], at: usize, needs: Needs) {
    if let Some(slot) = slots.get_mut(at) {
        slot.give_back(needs);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_spread_over_nodes_and_wait_when_all_are_full() {
        let mut slots: Vec<Slot> =
            ["a", "b"].map(|it| Slot::new(it.to_owned(), "1", "1Gi", 10)).to_vec();
        let spec = json!({"containers": [{"resources": {"requests": {"cpu": "600m", "memory": "100Mi"}}}]});
        let needs = Needs::of(&spec);
        assert_eq!(place(&mut slots, needs), Some(0));
        assert_eq!(place(&mut slots, needs), Some(1));
        assert_eq!(place(&mut slots, needs), None);
        release(&mut slots, 0, needs);
        assert_eq!(place_on(&mut slots, 1, needs), None);
        assert_eq!(place(&mut slots, needs), Some(0));
        assert_eq!(
            place(&mut slots, Needs::default()),
            Some(0),
            "what asks for nothing still fits"
        );
    }
}
