package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// bodyRules are about what bodies say.
var bodyRules = []rule{
	{"one json", func(x *exchange) string {
		if x.parsed != nil {
			return x.parsed.Error()
		}
		return ""
	}},
	{"error shape", wrongError},
	{"error code", func(x *exchange) string {
		e := inner(x.object(), "error")
		if code := number(e["code"]); x.failed() && code != int64(x.Status) && e["id"] != "session_verified_address_required" {
			return "code is " + strconv.FormatInt(code, 10)
		}
		return ""
	}},
	{"error request", func(x *exchange) string {
		if r := inner(x.object(), "error")["request"]; x.failed() && r != x.Header.Get("X-Request-Id") {
			return fmt.Sprintf("request is %v, not X-Request-Id", r)
		}
		return ""
	}},
	{"time", func(x *exchange) string { return walk(x.value, wrongTimes) }},
	{"id", func(x *exchange) string { return walk(x.value, wrongIDs) }},
	{"node", func(x *exchange) string {
		return walk(x.value, func(o map[string]any) string {
			if a := inner(o, "attributes"); a != nil && a["node_type"] != o["type"] {
				return fmt.Sprintf("type is %v, node_type %v", o["type"], a["node_type"])
			}
			return ""
		})
	}},
	{"csrf node", func(x *exchange) string {
		kind := x.object()["type"]
		return walk(x.object()["ui"], func(o map[string]any) string {
			if o["name"] == "csrf_token" && (o["value"] == "") != (kind == "api") {
				return fmt.Sprintf("a flow of type %v has the token %q", kind, o["value"])
			}
			return ""
		})
	}},
}

// wrongError: whatever fails says so in the envelope or, where a person can mend
// it, in a flow; and nothing else does.
func wrongError(x *exchange) string {
	if x.bodiless() || x.foreign() || x.below("/health", "/admin/health") {
		return ""
	}
	e := inner(x.object(), "error")
	message, _ := e["message"].(string)
	switch {
	case x.Status < http.StatusBadRequest:
		if e != nil && !x.below("/self-service/errors") {
			return "there is an error"
		}
	case e == nil && x.Status == http.StatusBadRequest && inner(x.object(), "ui") != nil:
	case e == nil && x.Status == http.StatusUnprocessableEntity && x.below("/sessions/token-exchange") && inner(x.object(), "ui") != nil:
	case message == "" || number(e["code"]) < http.StatusBadRequest:
		return "there is no error with code and message"
	}
	return ""
}

func wrongTimes(o map[string]any) string {
	for name, v := range o {
		text, ok := v.(string)
		if !ok || name != "time" && !strings.HasSuffix(name, "_at") {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, text); err != nil || !strings.HasSuffix(text, "Z") || at.Year() < 2000 {
			return name + " is " + strconv.Quote(text)
		}
	}
	return ""
}

// wrongIDs: what is called an id is one. Things that have a time have an id of
// their own as well; the saved errors that need no store are named otherwise.
func wrongIDs(o map[string]any) string {
	for name, v := range o {
		text, ok := v.(string)
		own := name == "id" && (o["created_at"] != nil || o["issued_at"] != nil || o["ip_address"] != nil) && !strings.HasPrefix(text, "stub:")
		switch name {
		case "identity_id", "session_id", "flow_id", "use_flow_id", "grant_id", "event_id", "address_id", "message_id":
			own = true
		}
		if ok && own && !uuidForm.MatchString(text) {
			return name + " is " + strconv.Quote(text)
		}
	}
	return ""
}

// strict reads one JSON value and refuses what two readers could understand in
// two ways. Numbers stay as they are written.
func strict(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := value(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return v, nil
}

// value reads the next value, with duplicate keys refused.
func value(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := map[string]any{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			if _, twice := o[name]; twice {
				return nil, fmt.Errorf("%q stands twice", name)
			}
			if o[name], err = value(d); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		items := []any{}
		for d.More() {
			item, err := value(d)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		_, err = d.Token()
		return items, err
	}
	return t, nil
}
