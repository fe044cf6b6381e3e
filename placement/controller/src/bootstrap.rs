//! What exists from the first start: the default change budget (RULES 1.3), the set of all clusters (RULES 2.3), and
//! the sample prices.

use federation_types::{
    budget::{ChangeBudget, ChangeBudgetSpec, DEFAULT_CHANGE_BUDGET},
    cluster::{ClusterSet, ClusterSetSpec},
    price::{PriceBook, PriceBookSpec},
};
use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

/// Makes what is missing and leaves the rest as it is.
pub(crate) async fn ensure(client: &Client, sample: PriceBookSpec) -> Result<(), kube::Error> {
    let budget = ChangeBudget::new(DEFAULT_CHANGE_BUDGET, ChangeBudgetSpec::default());
    create(client, budget).await?;
    let everyone = ClusterSetSpec { namespaces: vec!["*".to_owned()], ..ClusterSetSpec::default() };
    create(client, ClusterSet::new("all", everyone)).await?;
    // Deleted or replaced by its owner, the sample stays away: it is made only while there is no book at all.
    let books = Api::<PriceBook>::all(client.clone());
    if books.list_metadata(&kube::api::ListParams::default().limit(1)).await?.items.is_empty() {
        create(client, PriceBook::new("sample", sample)).await?;
    }
    Ok(())
}

async fn create<K>(client: &Client, object: K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    K: Resource<Scope = kube::core::ClusterResourceScope>,
{
    match Api::<K>::all(client.clone()).create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error),
    }
}
