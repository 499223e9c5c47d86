package pages

import (
	"net/http"
	"slices"
)

// handed tells whether a recovery waits for a code that somebody has handed over: no mail
// went out for it, and nothing sends another.
func (f *selfService) handed(k flowKind) bool {
	return k == recovery && f.State == stateSent && !f.byLink() &&
		!slices.ContainsFunc(f.UI.Nodes, func(n node) bool { return n.Attributes.Name == "email" })
}

// explainRecovery says in f what the API leaves to the page: that a code was handed over,
// and to who is not signed in that it is used. Where the API does not say who comes, it
// changes nothing.
func (p *pages) explainRecovery(w http.ResponseWriter, r *http.Request, f *selfService) {
	if f.handed(recovery) {
		if m := f.message(recoveryCodeSent); m != nil {
			*m = info(p.texts.of(r).Words.EnterHanded)
		}
	}
	if f.State == statePassed {
		f.usedElsewhere = p.ask(w, r, typeJSON, pathWhoami, nil).status == http.StatusUnauthorized
	}
}

// recovering tells whether settings are those that a recovery has led to, and the person
// has not chosen a new password yet. They keep the URL that the recovery was begun with.
func (f *selfService) recovering() bool {
	return f.message(recovered) != nil || f.afterRecovery() && !f.renewed()
}

// renewed tells whether the new password behind a recovery was stored just now.
func (f *selfService) renewed() bool {
	return f.afterRecovery() && f.State == stateSuccess && f.Active == groupPassword
}

func (f *selfService) afterRecovery() bool { return f.begunBy() == recovery }

// remindOfAddress says that an address is nobody's yet, although a recovery has led here:
// who was handed a code may not get its mails any more, and can change it now.
func (f *selfService) remindOfAddress(say *words) {
	changed := slices.ContainsFunc(f.UI.Nodes, func(n node) bool { return n.Group == groupProfile && n.entered() })
	if unproved := f.unproved(); unproved != "" && changed {
		f.UI.Messages = append(f.UI.Messages, info(fill(say.LostAddress, "address", unproved)))
	}
}

// profileSaved tells whether a profile was stored just now.
func (f *selfService) profileSaved() bool {
	return f.State == stateSuccess && f.Active == groupProfile
}

// tellOfMail says that a mail verifies an address, if it was entered just now: what was
// in the profile before, nobody knows here.
func (f *selfService) tellOfMail(say *words) {
	if unproved := f.unproved(); unproved != "" {
		f.mailed = true
		f.UI.Messages = append(f.UI.Messages, info(fill(say.AddressMailed, "address", unproved)))
	}
}

// unproved is an address that is not verified yet, "" if all are.
func (f *selfService) unproved() string {
	for _, a := range f.Identity.VerifiableAddresses {
		if !a.Verified {
			return a.Value
		}
	}
	return ""
}

// waysOfSettings lead on from settings: from those of a recovery that is over, since
// nothing else can be done on that page, to where the person wanted to go.
func (f *selfService) waysOfSettings(say *words) (ways []way) {
	if f.renewed() {
		if f.ReturnTo != "" {
			ways = append(ways, way{"", say.GoOn, "", f.ReturnTo})
		}
		ways = append(ways, way{"", say.Settings, settings, ""})
	}
	if f.mailed {
		ways = append(ways, way{say.NoMail, say.VerifyIt, verification, ""})
	}
	return append(ways, way{"", say.Start, "", "welcome"})
}
