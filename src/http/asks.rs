//! What is asked of an incident, as routes: each takes its body, and answers the incident as it is then.

use crate::http::body::Command;
use crate::http::commands::{
    self, Action, Analysed, AskedAction, AskedContainment, Assign, Containment, On, OnlyBy, PageTo,
    Reason, Remarked, SetSeverity, Update, Waive,
};
use crate::http::openapi::asked::Once;
use crate::http::openapi::problems::Unmet;
use crate::http::params::ByNumber;
use crate::http::problem::Problem;
use crate::http::view;
use axum::Json;

macro_rules! asks {
    ($($(#[$doc:meta])* $method:ident $path:literal as $id:literal: $name:ident($body:ident as $shown:ident);)*) => {$(
        $(#[$doc])*
        #[utoipa::path(
            $method,
            path = $path,
            operation_id = $id,
            security(("bearer" = ["responder"])),
            params(ByNumber, Once),
            request_body = $shown,
            responses((status = 200, description = "The incident as it is then", body = view::Incident), Unmet)
        )]
        pub async fn $name(on: On, Command(body): Command<$body>) -> Result<Json<view::Incident>, Problem> {
            on.ask(commands::$name(body)).await
        }
    )*};
}

asks! {
    /// Takes it: escalation ends.
    post "/acknowledge" as "acknowledgeIncident": acknowledge(OnlyBy as OnlyBy);
    /// Gives it back: paging starts anew.
    post "/unacknowledge" as "unacknowledgeIncident": unacknowledge(OnlyBy as OnlyBy);
    /// Takes it over: its commander, acknowledged, walked in full.
    post "/take-over" as "takeOverIncident": take_over(OnlyBy as OnlyBy);
    /// Drops the acknowledgement and runs the next step now; after the last, the first.
    post "/escalate" as "escalateIncident": escalate(OnlyBy as OnlyBy);
    /// Pages somebody about it.
    post "/page" as "pageAboutIncident": page(PageTo as PageTo);
    /// Says how severe it is.
    post "/severity" as "setSeverity": severity(SetSeverity as SetSeverity);
    /// Names somebody on it.
    post "/assign" as "assignRole": assign(Assign as Assign);
    /// Tells people how it goes on; recorded, not sent.
    post "/updates" as "addUpdate": update(Update as Update);
    /// Notes something, also on a closed incident.
    post "/notes" as "addNote": note(Remarked as Remarked);
    /// Adds evidence.
    post "/evidence" as "addEvidence": evidence(Remarked as Remarked);
    /// Says what was done against it.
    post "/mitigation" as "addMitigation": mitigation(Remarked as Remarked);
    /// Says how its damage is limited, or why that is not needed.
    post "/containment" as "addContainment": containment(Containment as AskedContainment);
    /// Says why it happened and why it was not seen, in parts or whole.
    put "/analysis" as "setAnalysis": analysis(Analysed as Analysed);
    /// Adds an action item.
    post "/actions" as "addAction": add_action(Action as AskedAction);
    /// Goes on to the next phase. What is missing is listed.
    post "/advance" as "advanceIncident": advance(Waive as Waive);
    /// Closes it. What is missing up to the end is listed.
    post "/close" as "closeIncident": close(Waive as Waive);
    /// Opens it again, while no other open incident has its key.
    post "/reopen" as "reopenIncident": reopen(Reason as Reason);
}
