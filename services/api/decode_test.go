package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/api"
)

func TestDecodeSubmit(t *testing.T) {
	t.Parallel()
	const multipart = "--b\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\npassword\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"traits.email\"\r\n\r\na@b.example\r\n--b--\r\n"
	for _, tt := range []struct {
		name, contentType, body string
		want                    api.Decoded
		password                string
	}{
		{"nothing", "", "", api.Decoded{}, ""},
		{"empty object", "application/json", "{}", api.Decoded{Traits: "{}"}, ""},
		{
			"JSON", "application/json",
			`{"method":"password","password":"s3cret","csrf_token":"c","traits":{"email":"a@b"},"transient_payload":{"x":[1]},"other":[{}]}`,
			api.Decoded{Method: "password", CSRF: "c", Traits: `{"email":"a@b"}`, Transient: `{"x":[1]}`},
			"s3cret",
		},
		{"JSON with charset and space", "application/json; charset=UTF-8", " \r\n{\"method\" : \"x\" }\t", api.Decoded{Method: "x", Traits: "{}"}, ""},
		{"nulls are absent", "application/json", `{"method":null,"password":null,"traits":null,"transient_payload":null}`, api.Decoded{Traits: "{}"}, ""},
		{"escapes", "application/json", `{"m\u0065thod":"p\u00e4ss","password":"\ud83d\ude00\""}`, api.Decoded{Method: "päss", Traits: "{}"}, "\U0001f600\""},
		{"form", "application/x-www-form-urlencoded", "method=password&password=a%20b&csrf_token=c&traits.email=a%40b", api.Decoded{Method: "password", CSRF: "c", Form: true}, "a b"},
		{"form with the method twice", "application/x-www-form-urlencoded", "method=password&method=password", api.Decoded{Method: "password", Form: true}, ""},
		{"form with transient payload", "application/x-www-form-urlencoded", "transient_payload.a.b=1&transient_payload.c=2", api.Decoded{Transient: `{"a":{"b":"1"},"c":"2"}`, Form: true}, ""},
		{"multipart", "multipart/form-data; boundary=b", multipart, api.Decoded{Method: "password", Form: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tt.body))
			if tt.contentType != "" {
				r.Header.Set("Content-Type", tt.contentType)
			}
			got, err := api.DecodeSubmit(r)
			if err != nil {
				t.Fatalf("decodeSubmit: %v", err)
			}
			if got.Password.Reveal() != tt.password {
				t.Errorf("password = %q, want %q", got.Password.Reveal(), tt.password)
			}
			got.Password = tt.want.Password
			if got != tt.want {
				t.Errorf("decodeSubmit = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// FuzzDecodeSubmit: whatever is sent, the answer is a submission or a reason.
func FuzzDecodeSubmit(f *testing.F) {
	f.Add("application/json", []byte(`{"method":"password","traits":{"a":[1]},"password":"x"}`))
	f.Add("application/x-www-form-urlencoded", []byte("method=password&traits.a.b=1&traits.a=2&transient_payload.x=1&transient_payload.x.y=2"))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n"))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x\"\r\n\r\nx\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		s, err := api.DecodeSubmit(r)
		if err != nil {
			return
		}
		for _, object := range []string{s.Traits, s.Transient} {
			if object != "" && (object[0] != '{' || !json.Valid([]byte(object))) {
				t.Errorf("decodeSubmit(%q, %q) gives %q, want an object or nothing", contentType, body, object)
			}
		}
	})
}
