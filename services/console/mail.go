package console

import (
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/operator"
)

const pathMail = base + "/mail"

func mailRoutes() []route {
	return []route{
		{"GET " + pathMail, operator.RoleOperator, (*visit).mails},
		{"POST " + pathMail, operator.RoleOperator, (*visit).searchMails},
		{"GET " + pathMail + "/{id}", operator.RoleOperator, (*visit).mail},
	}
}

// mailMessage is a mail as the admin API gives it.
type mailMessage struct {
	ID        string         `json:"id"`
	Status    courier.Status `json:"status"`
	Recipient string         `json:"recipient"`
	Subject   string         `json:"subject"`
	Body      string         `json:"body"`
	Template  string         `json:"template_type"`
	Attempts  int64          `json:"send_count"`
	LastError string         `json:"last_error"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
}

// maskedMail is what the API says in place of what a mail says, but in development.
const maskedMail = "[shown in development only]"

// shown tells whether the API shows what the mail says. A mailbox with a mail
// server forgets it once the mail is sent.
func (m mailMessage) shown() bool { return m.Body != maskedMail && m.Body != "" }

var mailedCode = regexp.MustCompile(`\b\d{6}\b`)

// code is the code that a mail holds, empty if none is to be seen.
func (m mailMessage) code() string { return mailedCode.FindString(m.Body) }

// mailTone is the tone of the badge of a status.
func mailTone(s courier.Status) string {
	switch s {
	case courier.Sent:
		return "ok"
	case courier.Abandoned:
		return "bad"
	case courier.Queued, courier.Processing:
	}
	return "warn"
}

// mailName is what people call a mail by its template.
func mailName(template string) string {
	switch template {
	case courier.VerificationCode:
		return "Verification code"
	case "verification_valid":
		return "Verification link"
	case courier.VerificationCodeUnknown, "verification_invalid":
		return "Verification of an address without an account"
	case "recovery_code_valid":
		return "Recovery code"
	case "recovery_valid":
		return "Recovery link"
	case "recovery_code_invalid", "recovery_invalid":
		return "Recovery with an address without an account"
	}
	return template
}

// mailStatuses are those that a mail can have.
var mailStatuses = []courier.Status{courier.Queued, courier.Processing, courier.Sent, courier.Abandoned}

// mailsSeen is what the list shows.
type mailsSeen struct {
	now       time.Time
	status    courier.Status
	recipient string
	first     bool
	all       []mailMessage
	next      string
	err       error
}

// kept are the filters that are set.
func (d mailsSeen) kept() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"status": string(d.status), "recipient": d.recipient} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// mails shows the mails, the newest first. Each look is an event of the log, so the
// page does not look again by itself.
func (v *visit) mails() error {
	query := v.r.URL.Query()
	query.Del("recipient") // an address stands in no URL
	return v.listMails(query)
}

// searchMails shows those that a form asks for.
func (v *visit) searchMails() error {
	query, err := v.form()
	if err != nil {
		return err
	}
	return v.listMails(query)
}

func (v *visit) listMails(query url.Values) error {
	d := mailsSeen{now: v.Now(), status: courier.Status(query.Get("status")), recipient: query.Get("recipient"), first: query.Get("after") == ""}
	d.next, d.err = v.list("/admin/courier/messages", d.kept(), query.Get("after"), &d.all)
	if mine(d.err) {
		return d.err
	}
	v.show(http.StatusOK, "Mail", pathMail, mailListPage(d))
	return nil
}

// mail shows one.
func (v *visit) mail() error {
	id, err := uuid.Parse(v.r.PathValue("id"))
	if err != nil {
		return &refusal{Status: http.StatusNotFound, Reason: "There is no such mail."}
	}
	var m mailMessage
	if err := v.get("/admin/courier/messages/"+id.String(), nil, &m); err != nil {
		return err
	}
	v.show(http.StatusOK, "Mail", pathMail, oneMailPage(m, v.Now()))
	return nil
}
