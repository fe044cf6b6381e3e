//! Price lists: the CSV normal form, the sample book, and the index by which a node's price is found.

use std::collections::BTreeMap;

use federation_types::{
    money::Money,
    price::{Charge, EgressClass, EgressPrice, NodePrice, PriceBookSpec, StoragePrice},
};

const SAMPLE: &str = include_str!("../data/prices.csv");
const RATES: &str = include_str!("../data/rates.csv");

/// Why a price list was not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error("the header lacks the column `{0}`")]
    Column(&'static str),
    #[error("line {line}: `{field}` is {found:?}, no amount in dollars")]
    Amount { line: usize, field: &'static str, found: String },
    #[error("line {line}: `{field}` is missing")]
    Missing { line: usize, field: &'static str },
}

/// The book that every hub starts with: real prices of EKS, GKE and AKS, marked as a sample and without a maximum age.
pub fn sample_book() -> PriceBookSpec {
    let prices = parse_csv(SAMPLE).expect("the list is part of the program and a test reads it");
    let mut book = PriceBookSpec { sample: true, prices, ..PriceBookSpec::default() };
    for line in RATES.lines().skip(1) {
        let fields: Vec<String> = line.splitn(5, ',').map(str::to_owned).collect();
        let [kind, name, provider, usd, _] =
            <[String; 5]>::try_from(fields).expect("the list is part of the program");
        match (kind.as_str(), name.as_str()) {
            ("charge", _) => {
                book.charges.push(Charge { name, provider, usd_hour: usd, ..Charge::default() });
            }
            ("storage", _) => {
                let price = StoragePrice { provider, usd_gib_month: usd, ..Default::default() };
                book.storage.push(price);
            }
            (_, far) => {
                let to = match far {
                    "Zone" => EgressClass::Zone,
                    "Region" => EgressClass::Region,
                    _ => EgressClass::Internet,
                };
                let price = EgressPrice { provider, to, usd_gib: usd, ..Default::default() };
                book.egress.push(price);
            }
        }
    }
    book
}

/// Reads the normal form: a header and one line per price; columns in any order, unknown ones left aside, a missing
/// value is unknown. Fields hold no commas.
pub fn parse_csv(text: &str) -> Result<Vec<NodePrice>, PriceError> {
    let mut lines = text.lines().enumerate().filter(|(_, it)| !it.trim().is_empty());
    let header: Vec<&str> =
        lines.next().map(|(_, it)| it.split(',').map(str::trim).collect()).unwrap_or_default();
    let column = |name: &str| header.iter().position(|it| *it == name);
    for name in ["provider", "instance_type"] {
        column(name).ok_or(PriceError::Column(name))?;
    }
    let mut prices = Vec::new();
    for (at, line) in lines {
        let line_number = at + 1;
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let field = |name: &str| {
            column(name).and_then(|at| fields.get(at)).copied().unwrap_or_default().to_owned()
        };
        let required = |name: &'static str| match field(name) {
            text if text.is_empty() => Err(PriceError::Missing { line: line_number, field: name }),
            text => Ok(text),
        };
        let amount = |name: &'static str| match field(name) {
            text if text.is_empty() => Ok(None),
            text => match Money::parse_usd(&text) {
                Some(_) => Ok(Some(text)),
                None => Err(PriceError::Amount { line: line_number, field: name, found: text }),
            },
        };
        let memory = field("mem_gib");
        prices.push(NodePrice {
            provider: required("provider")?,
            region: field("region"),
            zone: field("zone"),
            instance_type: required("instance_type")?,
            on_demand_usd_hour: amount("od_usd_h")?,
            spot_usd_hour: amount("spot_usd_h")?,
            spot_interrupt_percent_min: field("spot_interrupt_month_lo").parse().ok(),
            spot_interrupt_percent_max: field("spot_interrupt_month_hi").parse().ok(),
            cpu: field("vcpu"),
            memory: if memory.is_empty() { memory } else { format!("{memory}Gi") },
            source: field("source"),
            as_of: field("as_of"),
        });
    }
    Ok(prices)
}

/// Prices of all books, by where and what; built once per change of a book.
#[derive(Clone, Debug, Default)]
pub struct PriceIndex {
    by_node: BTreeMap<(String, String), Vec<Listed>>,
}

/// A price with what its book says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub region: String,
    pub zone: String,
    pub on_demand: Option<Money>,
    pub spot: Option<Money>,
    pub cpu: String,
    pub memory: String,
    pub source: String,
    /// Empty: undated.
    pub as_of: String,
    pub max_age: Option<String>,
    pub sample: bool,
}

impl PriceIndex {
    pub fn new<'a>(books: impl IntoIterator<Item = &'a PriceBookSpec>) -> Self {
        let mut by_node: BTreeMap<_, Vec<Listed>> = BTreeMap::new();
        for book in books {
            for price in &book.prices {
                let usd = |text: &Option<String>| text.as_deref().and_then(Money::parse_usd);
                by_node
                    .entry((price.provider.clone(), price.instance_type.clone()))
                    .or_default()
                    .push(Listed {
                        region: price.region.clone(),
                        zone: price.zone.clone(),
                        on_demand: usd(&price.on_demand_usd_hour),
                        spot: usd(&price.spot_usd_hour),
                        cpu: price.cpu.clone(),
                        memory: price.memory.clone(),
                        source: price.source.clone(),
                        as_of: price.as_of.clone(),
                        max_age: book.max_age.clone(),
                        sample: book.sample,
                    });
            }
        }
        Self { by_node }
    }

    /// The price of a node. An owner's book goes before the sample, then the narrower price (zone, region, anywhere),
    /// then the newer one; undated ones lose.
    pub fn find(
        &self,
        provider: &str,
        region: &str,
        zone: &str,
        instance_type: &str,
    ) -> Option<&Listed> {
        let fits = |own: &str, asked: &str| own.is_empty() || own == asked;
        self.by_node
            .get(&(provider.to_owned(), instance_type.to_owned()))?
            .iter()
            .filter(|it| fits(&it.region, region) && fits(&it.zone, zone))
            .max_by_key(|it| (!it.sample, !it.zone.is_empty(), !it.region.is_empty(), &it.as_of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_book_is_whole_and_says_that_it_is_a_sample() {
        let book = sample_book();
        assert_eq!(book.prices.len(), 146);
        assert!(book.sample && book.max_age.is_none());
        assert!(book.prices.iter().all(|it| it.on_demand_usd_hour.is_some()));
        assert!(book.prices.iter().all(|it| !it.cpu.is_empty() && !it.memory.is_empty()));
        assert_eq!((book.charges.len(), book.storage.len(), book.egress.len()), (8, 3, 9));
        assert_eq!(federation_types::validate::price_book(&book), []);
    }

    #[test]
    fn a_missing_price_is_unknown_and_a_wrong_one_is_refused() {
        let prices = parse_csv("instance_type,provider,od_usd_h\nm,eks,\n").expect("reads");
        assert_eq!(prices[0].on_demand_usd_hour, None);
        let wrong = parse_csv("instance_type,provider,od_usd_h\nm,eks,cheap\n");
        assert!(matches!(wrong, Err(PriceError::Amount { line: 2, .. })), "{wrong:?}");
        assert_eq!(parse_csv("provider\n"), Err(PriceError::Column("instance_type")));
    }

    #[test]
    fn an_owners_price_goes_before_the_sample_and_the_narrower_before_the_wider() {
        let price = |region: &str, usd: &str| NodePrice {
            provider: "eks".into(),
            region: region.into(),
            instance_type: "m".into(),
            on_demand_usd_hour: Some(usd.into()),
            ..NodePrice::default()
        };
        let sample = PriceBookSpec {
            sample: true,
            prices: vec![price("", "9"), price("eu-west-1", "8")],
            ..PriceBookSpec::default()
        };
        let index = PriceIndex::new([&sample]);
        let usd = |index: &PriceIndex, region: &str| {
            index
                .find("eks", region, "", "m")
                .and_then(|it| it.on_demand)
                .map(|it| it.0 / 1_000_000)
        };
        assert_eq!(usd(&index, "eu-west-1"), Some(8));
        assert_eq!(usd(&index, "us-east-1"), Some(9));
        let own = PriceBookSpec { prices: vec![price("", "7")], ..PriceBookSpec::default() };
        let index = PriceIndex::new([&sample, &own]);
        assert_eq!(usd(&index, "eu-west-1"), Some(7));
        assert_eq!(index.find("gke", "eu-west-1", "", "m"), None);
    }
}
