package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/audit"
)

func checkpointKey(t *testing.T, seed byte) audit.Key {
	t.Helper()
	key, err := audit.NewKey(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// chained makes n records that follow a record of the log.
func chained(seq int64, former audit.Hash, n int) []audit.Record {
	records := make([]audit.Record, n)
	for i := range records {
		seq++
		r := audit.Record{Seq: seq, EventID: fmt.Sprint("id", seq), Type: "identity.created", Former: former, LoggedAt: time.Now()}
		r.Payload = fmt.Appendf(nil, `{"id":%q,"type":%q}`, r.EventID, r.Type)
		r.Hash = audit.Next(former, r.Payload)
		former, records[i] = r.Hash, r
	}
	return records
}

// exported writes an export: keys, checkpoints that vouch for what is before it, records.
func exported(t *testing.T, keys []audit.PublicKey, before []audit.Checkpoint, records []audit.Record) string {
	t.Helper()
	var b bytes.Buffer
	w := audit.NewWriter(&b, keys)
	for _, c := range before {
		w.Checkpoint(c)
	}
	for _, r := range records {
		w.Record(r)
	}
	if err := w.End(records[len(records)-1].Seq, ""); err != nil {
		t.Fatal(err)
	}
	return written(t, b.String())
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lines.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keptElsewhere writes a file of checkpoints, as the sink keeps it.
func keptElsewhere(t *testing.T, key audit.Key, records []audit.Record, seqs ...int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checkpoints.jsonl")
	f, err := audit.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range seqs {
		if err := f.Append(key.Sign(int64(seq), records[seq-1].Hash, time.Now()), []audit.PublicKey{key.Public()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A forged export names a key of its own, whose checkpoint says that all that is
// genuine was pruned. What was kept elsewhere shows it.
func TestVerifyBelievesWhatWasKeptElsewhere(t *testing.T) {
	t.Parallel()
	key, forger := checkpointKey(t, 1), checkpointKey(t, 2)
	genuine := chained(0, audit.Hash{}, 9)
	outside := keptElsewhere(t, key, genuine, 4, 9)
	start := forger.Sign(10, audit.Hash{1}, time.Now())
	forged := exported(t, []audit.PublicKey{forger.Public()}, []audit.Checkpoint{start}, chained(10, start.Head, 5))
	rotated := exported(t, []audit.PublicKey{forger.Public(), key.Public()},
		[]audit.Checkpoint{forger.Sign(9, genuine[8].Hash, time.Now())}, genuine)
	pruned := exported(t, []audit.PublicKey{key.Public()}, []audit.Checkpoint{key.Sign(6, genuine[5].Hash, time.Now())}, genuine[6:])
	keyless := written(t, "")
	for name, c := range map[string]struct {
		args []string
		want string // of what it says
		fail bool
	}{
		"forged":                       {[]string{forged, "--checkpoint", outside}, "no checkpoint vouches", true},
		"forged, with its key":         {[]string{forged, "--checkpoint", outside, "--key", forger.Public().String()}, "forged", true},
		"forged, with both keys":       {[]string{forged, "--checkpoint", outside, "--key", forger.Public().String(), "--key", key.Public().String()}, "unproven", true},
		"genuine":                      {[]string{exported(t, []audit.PublicKey{key.Public()}, nil, genuine), "--checkpoint", outside}, "2 checkpoints from outside have a record", false},
		"genuine, pruned":              {[]string{pruned, "--checkpoint", outside}, "1 more, up to record 4, of what was pruned", false},
		"genuine, with a key more":     {[]string{rotated, "--checkpoint", outside}, "1 checkpoint of the log counts for nothing", false},
		"one checkpoint of the log":    {[]string{pruned}, "3 records, 1 checkpoint, intact", false},
		"no checkpoint kept":           {[]string{rotated, "--checkpoint", keyless}, "holds no checkpoint", true},
		"nothing kept":                 {[]string{rotated}, "cut off cannot be seen", false},
		"a checkpoint without its key": {[]string{rotated, "--checkpoint", withoutKeys(t, outside)}, "give --key", true},
		"its key given":                {[]string{rotated, "--checkpoint", withoutKeys(t, outside), "--key", key.Public().String(), "--key", forger.Public().String()}, "9 records, 2 checkpoints, intact", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := auditVerifyCommand(&global{})
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			cmd.SetArgs(c.args)
			err := cmd.Execute()
			if said := fmt.Sprintln(out.String(), err); (err != nil) != c.fail || !strings.Contains(said, c.want) {
				t.Errorf("%s, want %q, failed: %t", said, c.want, c.fail)
			}
		})
	}
}

// withoutKeys is a file of checkpoints as a URL is sent them.
func withoutKeys(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	return written(t, rest)
}
