// Package pages holds the built-in self-service pages, for installations that
// bring none of their own:
//
//	/ui/registration?flow=…   the form of a flow
//	/ui/login?flow=…          the same
//	/ui/verification?flow=…   the same
//	/ui/recovery?flow=…       the same
//	/ui/settings?flow=…       the same, for who is signed in: a part for each thing to change
//	/ui/welcome               who is signed in
//	/ui/sessions              where else, and the end of that
//	/ui/error?id=…            what went wrong
//	/ui/assets/…              the stylesheet and the icon
//
// The pages are a client of the public API like any other: they ask it, in
// process, what the browser could have asked itself, and draw the answer.
//
//	browser ─▶ /ui/registration ─▶ GET /self-service/registration/flows ─▶ nodes ─▶ HTML
//	   └──────────────── POST the form to the flow's own action ───────▶ the API
//
// Only what the API takes from no form, the end of other sessions, is posted to a
// page, which asks the API for it:
//
//	browser ─▶ POST /ui/sessions ─▶ own origin? ─▶ DELETE /sessions/{id} ─▶ 303 /ui/sessions
//
// So they can do nothing that a UI of somebody else could not, every check is
// the API's (above all that a flow is shown only to the browser that began
// it), and what the contract lacks is noticed here first.
//
// They speak the language that the browser prefers, of those in texts: a file for each,
// with the API's messages by id and the pages' own words. What has no text there, such as
// a message of a hook, is shown as the API says it; titles of fields are those of the
// identity schema, but for the fields of the built-in one.
//
// Nothing on them needs a script, and all links are relative: they work below
// any path that a proxy takes away.
package pages
