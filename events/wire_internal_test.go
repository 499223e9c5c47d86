package events

import "testing"

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, subject, name string
		ok                     bool
	}{
		{"a.b", "a.b", "", true},
		{"a.b", "a.b.c", "", false},
		{"a.*", "a.crm", "crm", true},
		{"a.*.z", "a.crm.z", "crm", true},
		{"a.*", "a.crm.mail", "", false}, // two names
		{"a.*.z", "a.crm.mail.z", "", false},
		{"a.*", "a.", "", false},
		{"a.*", "b.crm", "", false},
		{"a.*.z", "a.crm.y", "", false},
	} {
		name, ok := matches(c.pattern, c.subject)
		if ok != c.ok || ok && name != c.name {
			t.Errorf("matches(%s, %s) = %q, %t, want %q, %t", c.pattern, c.subject, name, ok, c.name, c.ok)
		}
	}
}

func TestBatchAcks(t *testing.T) {
	t.Parallel()
	acks, err := batchAcks([]byte(`{"stream":"USHER_EVENTS","seq":7,"batch":"b","count":3}`), 3)
	if err != nil || len(acks) != 3 || acks[0].StreamSeq != 5 || acks[2].StreamSeq != 7 {
		t.Errorf("batchAcks = %+v, %v, want the places 5 to 7", acks, err)
	}
	for _, reply := range []string{
		`{"seq":7,"count":2}`, `{"seq":7,"count":4}`, `{"seq":7}`, `{"seq":2,"count":3}`, `{"error":{"code":503}}`, `{`,
	} {
		if acks, err := batchAcks([]byte(reply), 3); err == nil {
			t.Errorf("batchAcks(%s) of 3 = %+v, want an error", reply, acks)
		}
	}
}

func TestAckSampleOf(t *testing.T) {
	t.Parallel()
	const own, good = subjectAcks + "crm", `{"type":"` + ackSampleType + `","consumer":"crm","stream_seq":3,"deliveries":2}`
	if s, ok := ackSampleOf(own, []byte(good)); !ok || s.Consumer != "crm" || s.StreamSeq != 3 || s.Deliveries != 2 {
		t.Errorf("ackSampleOf = %+v, %t, want it read", s, ok)
	}
	for subject, data := range map[string]string{
		subjectAcks + "mail": good, // of another durable
		"crm":                good,
		own:                  `{"type":"io.nats.jetstream.api.v1.consumer_info_response","consumer":"crm","stream_seq":3}`,
		subjectAcks + "x":    `{`,
	} {
		if s, ok := ackSampleOf(subject, []byte(data)); ok {
			t.Errorf("ackSampleOf(%s, %s) = %+v, want none", subject, data, s)
		}
	}
}
