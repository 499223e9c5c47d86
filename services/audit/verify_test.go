package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/audit"
)

var at = time.Date(2026, 11, 26, 3, 0, 0, 123456000, time.UTC)

// chain makes a log of n records.
func chain(n int) []audit.Record {
	records := make([]audit.Record, n)
	var former audit.Hash
	for i := range records {
		r := audit.Record{
			Seq:      int64(i + 1),
			EventID:  fmt.Sprintf("0190a000-0000-7000-8000-%012d", i+1),
			Type:     "identity.created",
			Subject:  fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1),
			Former:   former,
			LoggedAt: at,
		}
		r.Payload = fmt.Appendf(nil, `{"data":{"note":"<a&b>"},"id":%q,"subject":%q,"type":%q}`, r.EventID, r.Subject, r.Type)
		r.Hash = audit.Next(former, r.Payload)
		former = r.Hash
		records[i] = r
	}
	return records
}

func newKey(t testing.TB, seed byte) audit.Key {
	t.Helper()
	key, err := audit.NewKey(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// verify gives the whole log and its checkpoints to a verifier.
func verify(key audit.Key, records []audit.Record, checkpoints ...audit.Checkpoint) (audit.Report, error) {
	v := &audit.Verifier{Keys: []audit.PublicKey{key.Public()}}
	for _, c := range checkpoints {
		if err := v.Checkpoint(c); err != nil {
			return audit.Report{}, err
		}
	}
	for _, r := range records {
		if err := v.Record(r); err != nil {
			return audit.Report{}, err
		}
	}
	return v.End()
}

func TestVerifyIntact(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1)
	for _, n := range []int{0, 1, 2, 64, 65, 500} {
		records := chain(n)
		var checkpoints []audit.Checkpoint
		want := audit.Report{Records: int64(n), Last: int64(n)}
		if n > 0 {
			want.First, want.Checkpoints, want.Signed = 1, 1, int64(n)
			checkpoints = append(checkpoints, key.Sign(int64(n), records[n-1].Hash, at))
		}
		got, err := verify(key, records, checkpoints...)
		if err != nil {
			t.Errorf("%d records: %v", n, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d records: want -, got +\n%s", n, d)
		}
	}
}

func TestVerifyPruned(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1)
	records := chain(200)
	got, err := verify(key, records[100:], key.Sign(100, records[99].Hash, at))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(audit.Report{Records: 100, Checkpoints: 1, First: 101, Last: 200, Signed: 100}, got); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
}

// TestVerifyNamesWhatIsWrong changes a log in the ways in which somebody would
// who can write to the database.
func TestVerifyNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	key, stranger := newKey(t, 1), newKey(t, 2)
	whole := chain(300)
	for name, c := range map[string]struct {
		change      func(r []audit.Record) []audit.Record
		checkpoints []audit.Checkpoint
		kind        string
		seq         int64
	}{
		"payload altered": {change: func(r []audit.Record) []audit.Record {
			r[149].Payload = bytes.Replace(r[149].Payload, []byte("a&b"), []byte("a&c"), 1)
			return r
		}, kind: audit.Altered, seq: 150},
		"last payload altered": {change: func(r []audit.Record) []audit.Record {
			r[299].Payload = bytes.Replace(r[299].Payload, []byte("a&b"), []byte("a&c"), 1)
			return r
		}, kind: audit.Altered, seq: 300},
		"hash altered": {change: func(r []audit.Record) []audit.Record { r[149].Hash[0]++; return r }, kind: audit.Altered, seq: 150},
		"type column altered": {change: func(r []audit.Record) []audit.Record {
			r[149].Type = "identity.deleted"
			return r
		}, kind: audit.Altered, seq: 150},
		"subject column emptied": {change: func(r []audit.Record) []audit.Record { r[149].Subject = ""; return r }, kind: audit.Altered, seq: 150},
		"altered with its hash": {change: func(r []audit.Record) []audit.Record {
			r[149].Payload = bytes.Replace(r[149].Payload, []byte("a&b"), []byte("a&c"), 1)
			r[149].Hash = audit.Next(r[149].Former, r[149].Payload)
			return r
		}, kind: audit.Altered, seq: 151}, // says that 150 may be the one
		"removed":       {change: func(r []audit.Record) []audit.Record { return slices.Delete(r, 149, 152) }, kind: audit.Removed, seq: 153},
		"first removed": {change: func(r []audit.Record) []audit.Record { return r[1:] }, kind: audit.Removed, seq: 2},
		"inserted": {change: func(r []audit.Record) []audit.Record {
			x := r[0]
			x.Seq, x.Former = 150, r[148].Hash
			x.Hash = audit.Next(x.Former, x.Payload)
			r = slices.Insert(r, 149, x)
			for i := 150; i < len(r); i++ {
				r[i].Seq++
			}
			return r
		}, kind: audit.Inserted, seq: 150},
		"twice": {change: func(r []audit.Record) []audit.Record { return slices.Insert(r, 149, r[148]) }, kind: audit.Inserted, seq: 149},
		"neighbours swapped": {change: func(r []audit.Record) []audit.Record {
			r[149], r[150] = r[150], r[149]
			r[149].Seq, r[150].Seq = 150, 151
			return r
		}, kind: audit.Reordered, seq: 150},
		"far ones swapped": {change: func(r []audit.Record) []audit.Record {
			r[149], r[180] = r[180], r[149]
			r[149].Seq, r[180].Seq = 150, 181
			return r
		}, kind: audit.Reordered, seq: 150},
		"lines swapped": {change: func(r []audit.Record) []audit.Record {
			r[149], r[150] = r[150], r[149]
			return r
		}, kind: audit.Reordered, seq: 151},
		"tail cut": {
			change:      func(r []audit.Record) []audit.Record { return r[:290] },
			checkpoints: []audit.Checkpoint{key.Sign(300, whole[299].Hash, at)}, kind: audit.TailCut, seq: 290,
		},
		"all cut": {
			change:      func(r []audit.Record) []audit.Record { return nil },
			checkpoints: []audit.Checkpoint{key.Sign(300, whole[299].Hash, at)}, kind: audit.TailCut, seq: 0,
		},
		"all made anew": {
			change:      func(r []audit.Record) []audit.Record { return rehash(r, 100) },
			checkpoints: []audit.Checkpoint{key.Sign(200, whole[199].Hash, at)}, kind: audit.Altered, seq: 200,
		},
		"checkpoint of a stranger": {checkpoints: []audit.Checkpoint{stranger.Sign(300, whole[299].Hash, at)}, kind: audit.Forged, seq: 300},
		"checkpoint altered":       {checkpoints: []audit.Checkpoint{moved(key.Sign(300, whole[299].Hash, at))}, kind: audit.Forged, seq: 299},
		"pruned without a checkpoint": {
			change:      func(r []audit.Record) []audit.Record { return r[100:] },
			checkpoints: []audit.Checkpoint{key.Sign(99, whole[98].Hash, at)}, kind: audit.Removed, seq: 101,
		},
		"pruned and another start": {
			change:      func(r []audit.Record) []audit.Record { return rehash(r, 50)[100:] },
			checkpoints: []audit.Checkpoint{key.Sign(100, whole[99].Hash, at)}, kind: audit.Altered, seq: 101,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			records := slices.Clone(whole)
			if c.change != nil {
				records = c.change(records)
			}
			_, err := verify(key, records, c.checkpoints...)
			var broken *audit.Broken
			if !errors.As(err, &broken) {
				t.Fatalf("got %v, want %s", err, c.kind)
			}
			if broken.Kind != c.kind || broken.Seq != c.seq {
				t.Errorf("got %v, want record %d %s", broken, c.seq, c.kind)
			}
		})
	}
}

// rehash changes a record and makes all hashes behind it anew.
func rehash(r []audit.Record, from int) []audit.Record {
	r[from].Payload = bytes.Replace(r[from].Payload, []byte("a&b"), []byte("a&c"), 1)
	for i := from; i < len(r); i++ {
		if i > 0 {
			r[i].Former = r[i-1].Hash
		}
		r[i].Hash = audit.Next(r[i].Former, r[i].Payload)
	}
	return r
}

func moved(c audit.Checkpoint) audit.Checkpoint { c.Seq--; return c }

func TestExportReadsBack(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1)
	records := chain(70)
	checkpoint := key.Sign(40, records[39].Hash, at)
	var b bytes.Buffer
	w := audit.NewWriter(&b, []audit.PublicKey{key.Public()})
	for _, r := range records {
		w.Record(r)
		if r.Seq == 40 {
			w.Checkpoint(checkpoint)
		}
	}
	if err := w.End(70, ""); err != nil {
		t.Fatal(err)
	}
	got, v, err := readExport(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(records, got); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
	report, err := v.End()
	if want := (audit.Report{Records: 70, Checkpoints: 1, First: 1, Last: 70, Signed: 40}); err != nil || report != want {
		t.Errorf("got %+v, %v, want %+v", report, err, want)
	}

	cut := b.Bytes()[:b.Len()-20]
	if _, _, err := readExport(cut[:bytes.LastIndexByte(cut, '\n')+1]); !errors.Is(err, audit.ErrCut) {
		t.Errorf("without its last line: %v, want ErrCut", err)
	}
}

func readExport(text []byte) (records []audit.Record, v *audit.Verifier, err error) {
	v = &audit.Verifier{}
	err = audit.Read(bytes.NewReader(text), audit.Handler{
		Key:        func(k audit.PublicKey) error { v.Keys = append(v.Keys, k); return nil },
		Record:     func(r audit.Record) error { records = append(records, r); return v.Record(r) },
		Checkpoint: v.Checkpoint,
	})
	return records, v, err
}

func TestReadRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"x\n", "{}\n", `{"key":"AAAA"}` + "\n", `{"record":{"seq":1,"former":"00"}}` + "\n",
		`{"record":{"seq":1,"former":"` + string(bytes.Repeat([]byte("0"), 200)) + `"}}` + "\n",
		`{"checkpoint":{"seq":1,"head":"zz"}}` + "\n", `{"record":{"seq":1}}` + "\n", `{"record":{}}x` + "\n",
		string(bytes.Repeat([]byte("a"), 2<<20)),
		`{"record":{"seq":1,"event":{},"verified_by":"x"}}` + "\n",
		// A record beside what is read, which nobody would have verified.
		`{"end":0,"record":{"seq":1,"event":{}}}` + "\n", `{"end":0}{"record":{"seq":1,"event":{}}}` + "\n",
	} {
		if _, _, err := readExport([]byte(text)); err == nil || errors.Is(err, audit.ErrCut) {
			t.Errorf("Read(%.40q…) = %v, want an error that names the line", text, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"key":"` + audit.PublicKey(bytes.Repeat([]byte{1}, 32)).String() + `"}` + "\n" + `{"end":0}`))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _, _ = readExport(text) })
}

// BenchmarkVerify verifies an export as it is read; one op is one record.
func BenchmarkVerify(b *testing.B) {
	key := newKey(b, 1)
	records := chain(10_000)
	var text bytes.Buffer
	w := audit.NewWriter(&text, []audit.PublicKey{key.Public()})
	for _, r := range records {
		w.Record(r)
	}
	if err := w.End(10_000, ""); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(text.Len() / len(records)))
	b.ResetTimer()
	for done := 0; done < b.N; done += len(records) {
		if _, _, err := readExport(text.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleVerifier() {
	key, err := audit.NewKey(make([]byte, 32))
	if err != nil {
		panic(err)
	}
	records := chain(3)
	v := audit.Verifier{Keys: []audit.PublicKey{key.Public()}}
	for _, r := range records {
		if err := v.Record(r); err != nil {
			fmt.Println(err)
		}
	}
	_ = v.Checkpoint(key.Sign(3, records[2].Hash, at))
	report, err := v.End()
	fmt.Println(report.Records, report.Checkpoints, err)
	// Output: 3 1 <nil>
}

// TestOutsideCheckpoints holds logs against what was kept elsewhere.
func TestOutsideCheckpoints(t *testing.T) {
	t.Parallel()
	key, own := newKey(t, 1), newKey(t, 2)
	whole := chain(300)
	sign := func(seq int64) audit.Checkpoint { return key.Sign(seq, whole[seq-1].Hash, at) }
	for name, c := range map[string]struct {
		records     []audit.Record
		checkpoints []audit.Checkpoint // of the log itself
		outside     []audit.Checkpoint
		want        audit.Report
		broken      string
	}{
		"whole": {
			records: whole, outside: []audit.Checkpoint{sign(100), sign(200), sign(100)},
			want: audit.Report{Records: 300, Checkpoints: 2, First: 1, Last: 300, Signed: 200, Outside: 2},
		},
		"pruned": {
			records: whole[100:], checkpoints: []audit.Checkpoint{sign(100), sign(200)}, outside: []audit.Checkpoint{sign(50), sign(60), sign(200)},
			want: audit.Report{Records: 200, Checkpoints: 2, First: 101, Last: 300, Signed: 200, Outside: 1, Older: 2, OlderTo: 60},
		},
		"pruned behind one": {
			records: whole[100:], outside: []audit.Checkpoint{sign(50), sign(100)},
			want: audit.Report{Records: 200, Checkpoints: 1, First: 101, Last: 300, Signed: 100, Outside: 1, Older: 1, OlderTo: 50},
		},
		"pruned behind all": {
			records: whole[100:], checkpoints: []audit.Checkpoint{sign(100), sign(200)}, outside: []audit.Checkpoint{sign(50), sign(99)},
			broken: audit.Unproven,
		},
		"key of the log alone": {
			records: whole, checkpoints: []audit.Checkpoint{own.Sign(250, whole[249].Hash, at)}, outside: []audit.Checkpoint{sign(100)},
			want: audit.Report{Records: 300, Checkpoints: 1, First: 1, Last: 300, Signed: 100, Outside: 1, Doubted: 1},
		},
		"start by the key of the log alone": {
			records: whole[100:], checkpoints: []audit.Checkpoint{own.Sign(100, whole[99].Hash, at)}, outside: []audit.Checkpoint{sign(50)},
			broken: audit.Removed,
		},
		"outside by the key of the log": {
			records: whole, outside: []audit.Checkpoint{own.Sign(100, whole[99].Hash, at)}, broken: audit.Forged,
		},
		"all cut": {outside: []audit.Checkpoint{sign(50)}, broken: audit.TailCut},
		"another": {records: rehash(slices.Clone(whole), 10), outside: []audit.Checkpoint{sign(5), sign(50)}, broken: audit.Altered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &audit.Verifier{Keys: []audit.PublicKey{key.Public()}, Doubted: []audit.PublicKey{own.Public()}}
			got, err := func() (audit.Report, error) {
				for _, c := range c.outside {
					if err := v.Outside(c); err != nil {
						return audit.Report{}, err
					}
				}
				for _, c := range c.checkpoints {
					if err := v.Checkpoint(c); err != nil {
						return audit.Report{}, err
					}
				}
				for _, r := range c.records {
					if err := v.Record(r); err != nil {
						return audit.Report{}, err
					}
				}
				return v.End()
			}()
			var broken *audit.Broken
			if errors.As(err, &broken); c.broken != "" {
				if broken == nil || broken.Kind != c.broken {
					t.Errorf("got %+v, %v, want it %s", got, err, c.broken)
				}
				return
			}
			if d := cmp.Diff(c.want, got); err != nil || d != "" {
				t.Errorf("%v, want -, got +\n%s", err, d)
			}
		})
	}
}
