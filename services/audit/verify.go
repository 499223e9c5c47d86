package audit

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidwall/gjson"
)

// What can be wrong with a log.
const (
	Altered   = "altered"   // the record is not what was logged
	Removed   = "removed"   // records are missing before this one
	Inserted  = "inserted"  // the record was not logged here
	Reordered = "reordered" // the record was logged elsewhere
	TailCut   = "tail cut"  // records are missing at the end
	Forged    = "forged"    // the checkpoint is not signed with a key that is known
	Unproven  = "unproven"  // no checkpoint from outside is of a record of this log
)

// Broken is the first thing in a log that does not fit.
type Broken struct {
	Kind string `json:"kind"`
	// Seq and EventID name the record; EventID is empty where there is none.
	Seq     int64  `json:"seq"`
	EventID string `json:"event_id,omitempty"`
	Detail  string `json:"detail"`
}

// Error names the record and what is wrong with it.
func (b *Broken) Error() string {
	text := fmt.Sprintf("record %d", b.Seq)
	if b.EventID != "" {
		text += " (event " + b.EventID + ")"
	}
	return text + " " + b.Kind + ": " + b.Detail
}

// Report is what was verified.
type Report struct {
	Records     int64 `json:"records"`
	Checkpoints int64 `json:"checkpoints"`
	First       int64 `json:"first"` // seq
	Last        int64 `json:"last"`
	// Signed is the last seq that a checkpoint vouches for. That records behind it
	// are missing at the end cannot be seen.
	Signed int64 `json:"signed"`
	// Outside counts the checkpoints from outside that a record was held against.
	Outside int64 `json:"outside"`
	// Older counts those of records before the first, which were held against
	// nothing, and OlderTo is the last such record.
	Older   int64 `json:"older,omitempty"`
	OlderTo int64 `json:"older_to,omitempty"`
	// Doubted counts the checkpoints that only a doubted key has signed.
	Doubted int64 `json:"doubted,omitempty"`
}

// lookahead is how many records are waited for to tell what is wrong with one.
const lookahead = 64

// Verifier verifies a log record by record: give it the records in their order,
// each checkpoint no later than directly behind its record, and then End. Its
// errors are a [*Broken], after which it is of no more use. It is not safe for
// concurrent use.
type Verifier struct {
	// Keys are those that checkpoints may be signed with.
	Keys []PublicKey
	// Doubted are keys that only the log itself names. What they have signed may be
	// in it, and vouches for nothing.
	Doubted []PublicKey

	report      Report
	last        Record // that was settled
	begun       bool
	waiting     []Record
	checkpoints map[int64]Checkpoint // that no record has been held against
	outside     map[int64]bool       // those of them that come from outside
}

// Outside takes a checkpoint that was kept where whoever can change the log
// could not. All of them come before the first record. A log that holds the
// record of none of them is unproven.
func (v *Verifier) Outside(c Checkpoint) error {
	if !verifies(v.Keys, c) {
		return forged(c)
	}
	if v.outside == nil {
		v.outside = map[int64]bool{}
	}
	v.outside[c.Seq] = true
	return v.Checkpoint(c)
}

// Checkpoint takes a checkpoint of the log.
func (v *Verifier) Checkpoint(c Checkpoint) error {
	switch {
	case verifies(v.Keys, c):
	case verifies(v.Doubted, c):
		v.report.Doubted++
		return nil
	default:
		return forged(c)
	}
	switch {
	case v.begun && c.Seq < v.last.Seq:
		return fmt.Errorf("checkpoint of record %d comes behind record %d", c.Seq, v.last.Seq)
	case v.begun && c.Seq == v.last.Seq:
		return v.hold(c)
	}
	if v.checkpoints == nil {
		v.checkpoints = map[int64]Checkpoint{}
	}
	if other, ok := v.checkpoints[c.Seq]; ok && other.Head != c.Head {
		return &Broken{Kind: Altered, Seq: c.Seq, Detail: "two checkpoints tell different hashes of it"}
	}
	v.checkpoints[c.Seq] = c
	return nil
}

func verifies(keys []PublicKey, c Checkpoint) bool {
	return slices.ContainsFunc(keys, func(k PublicKey) bool { return k.Verifies(c) })
}

func forged(c Checkpoint) *Broken {
	return &Broken{Kind: Forged, Seq: c.Seq, Detail: "its checkpoint is not signed with a key that is known here (it says key " + c.KeyID + ")"}
}

// hold holds the last record against its checkpoint.
func (v *Verifier) hold(c Checkpoint) error {
	if c.Head != v.last.Hash {
		return &Broken{Kind: Altered, Seq: c.Seq, Detail: fmt.Sprintf(
			"the checkpoint of %s tells another hash: it, or records before it, were changed and all hashes made anew", c.At.Format("2006-01-02 15:04:05"))}
	}
	if c.Seq > v.report.Signed { // else it was given twice
		v.report.Checkpoints++
		v.report.Signed = c.Seq
	}
	if v.outside[c.Seq] {
		delete(v.outside, c.Seq)
		v.report.Outside++
	}
	return nil
}

// Record takes the next record. It must not be changed afterwards.
func (v *Verifier) Record(r Record) error {
	if !v.begun {
		if err := v.begin(r); err != nil {
			return err
		}
	}
	v.waiting = append(v.waiting, r)
	if len(v.waiting) <= lookahead {
		return nil
	}
	return v.settle()
}

// begin accepts the first record of all, or one behind a checkpoint, where a
// log begins that was pruned.
func (v *Verifier) begin(first Record) error {
	v.begun = true
	v.report.First = first.Seq
	if first.Seq == 1 {
		return nil
	}
	start, ok := v.checkpoints[first.Seq-1]
	if !ok {
		return &Broken{Kind: Removed, Seq: first.Seq, EventID: first.EventID, Detail: fmt.Sprintf(
			"the log begins here, and no checkpoint vouches for the %d records before it", first.Seq-1)}
	}
	delete(v.checkpoints, start.Seq)
	v.last.Seq, v.last.Hash = start.Seq, start.Head
	return v.hold(start)
}

// End settles what waits and gives the report.
func (v *Verifier) End() (Report, error) {
	for len(v.waiting) > 0 {
		if err := v.settle(); err != nil {
			return v.report, err
		}
	}
	v.report.Last = v.last.Seq
	for _, seq := range slices.Sorted(maps.Keys(v.checkpoints)) {
		if seq > v.last.Seq {
			return v.report, &Broken{Kind: TailCut, Seq: v.last.Seq, Detail: fmt.Sprintf(
				"the log ends here, and a checkpoint of %s vouches for records up to %d", v.checkpoints[seq].At.Format("2006-01-02 15:04:05"), seq)}
		}
	}
	err := v.proven()
	return v.report, err
}

// proven counts the checkpoints from outside that are left, all of which are
// older than the log, and refuses a log that none of them is of.
func (v *Verifier) proven() error {
	for seq := range v.outside {
		v.report.Older++
		v.report.OlderTo = max(v.report.OlderTo, seq)
	}
	if v.report.Older > 0 && v.report.Outside == 0 {
		return &Broken{Kind: Unproven, Seq: v.report.First, Detail: fmt.Sprintf(
			"the log begins here, and the %d checkpoints from outside end at record %d: none vouches for any of it", v.report.Older, v.report.OlderTo)}
	}
	return nil
}

// settle decides about the record that has waited longest.
func (v *Verifier) settle() error {
	r := v.waiting[0]
	v.waiting = v.waiting[1:]
	if broken := v.judge(r); broken != nil {
		return broken
	}
	v.last = r
	v.report.Records++
	if c, ok := v.checkpoints[r.Seq]; ok {
		delete(v.checkpoints, r.Seq)
		return v.hold(c)
	}
	return nil
}

// judge says what is wrong with a record, or with the one before it.
func (v *Verifier) judge(r Record) *Broken {
	last := v.last
	itself := Next(r.Former, r.Payload) == r.Hash
	switch {
	case r.Seq <= last.Seq:
		return r.broken(Inserted, "it stands behind record %d", last.Seq)
	case r.Seq > last.Seq+1 && v.followed():
		return r.broken(Reordered, "it stands behind record %d", last.Seq)
	case r.Seq > last.Seq+1:
		return r.broken(Removed, "%d records before it are missing", r.Seq-last.Seq-1)
	case r.Former == last.Hash && itself:
		return r.misfiled()
	case r.Former == last.Hash || !itself:
		return r.broken(Altered, "its payload does not give its hash")
	case r.Former == last.Former:
		return last.broken(Inserted, "the record behind it follows the one before it")
	case v.leads(r.Former):
		return r.broken(Reordered, "it follows a record that stands behind it")
	case v.followed():
		return r.broken(Inserted, "a record behind it follows the one before it")
	default:
		return r.broken(Altered, "it does not follow record %d: that one was altered and its hash made anew, or records between them were removed and the others renumbered", last.Seq)
	}
}

func (r *Record) broken(kind, detail string, args ...any) *Broken {
	return &Broken{Kind: kind, Seq: r.Seq, EventID: r.EventID, Detail: fmt.Sprintf(detail, args...)}
}

// followed tells whether a record that waits follows the last one.
func (v *Verifier) followed() bool {
	return slices.ContainsFunc(v.waiting, func(r Record) bool { return r.Former == v.last.Hash })
}

// leads tells whether a record that waits has that hash.
func (v *Verifier) leads(hash Hash) bool {
	return slices.ContainsFunc(v.waiting, func(r Record) bool { return r.Hash == hash })
}

// misfiled holds what a record is found by against its payload, which alone
// the hash covers.
func (r *Record) misfiled() *Broken {
	if !gjson.ValidBytes(r.Payload) {
		return r.broken(Altered, "its payload is no event")
	}
	var id, eventType, subject string
	gjson.ParseBytes(r.Payload).ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			id = value.Str
		case "type":
			eventType = value.Str
		case "subject":
			subject = value.Str
		}
		return true
	})
	if id != r.EventID || eventType != r.Type || subject != r.Subject {
		return r.broken(Altered, "it is filed under another id, type or subject than its payload's")
	}
	return nil
}
