package importer_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/importer"
)

// person is a line of somebody with a name that is no structure.
func person(name string) string {
	return fmt.Sprintf(`{"traits":{"email":"%s@example.org","name":"\"]},\\"}}`, name)
}

func (w *world) emails() (all []string) {
	for _, i := range w.stored {
		all = append(all, strings.TrimSuffix(i.Addresses[0].Value, "@example.org"))
	}
	slices.Sort(all)
	return all
}

func TestInputs(t *testing.T) {
	t.Parallel()
	ann, bea, cid := person("ann"), person("bea"), person("cid")
	all := []string{"ann", "bea", "cid"}
	for name, c := range map[string]struct {
		in   string
		from int
		want []string
	}{
		"nothing":                    {"", 1, nil},
		"lines":                      {ann + "\n" + bea + "\n" + cid + "\n", 1, all},
		"lines without a last end":   {ann + "\r\n\n  \n" + bea + "\n" + cid, 1, all},
		"lines behind others":        {ann + "\n\n" + bea + "\n" + cid, 3, []string{"bea", "cid"}},
		"lines behind a mark":        {"\ufeff" + ann + "\n" + bea + "\n" + cid, 1, all},
		"an array on a line":         {"[" + ann + "," + bea + "," + cid + "]", 1, all},
		"an array over lines":        {"\n [\n" + ann + " ,\n\t" + bea + "\r\n,\n\n" + cid + "\n]\n", 1, all},
		"arrays":                     {"[" + ann + "]\n[]\n[ ] [" + bea + "," + cid + "]", 1, all},
		"arrays behind a mark":       {"\ufeff[" + ann + "][" + bea + "," + cid + "]", 1, all},
		"an array that is printed":   {"[" + strings.ReplaceAll(ann, ":", " :\n ") + "," + strings.ReplaceAll(bea, "{", "{\n\t") + "," + cid + "]", 1, all},
		"elements behind others":     {"[" + ann + "," + bea + "]\n[" + cid + "]", 2, []string{"bea", "cid"}},
		"elements of a second array": {"[" + ann + "," + bea + "]\n[" + cid + "]", 3, []string{"cid"}},
	} {
		for how, in := range map[string]io.Reader{"at once": strings.NewReader(c.in), "by byte": iotest.OneByteReader(strings.NewReader(c.in))} {
			w := newWorld(t)
			sum, err := w.run(in, c.from)
			if got := w.emails(); err != nil || !slices.Equal(got, c.want) || sum.Refused > 0 || sum.Lines != len(c.want) {
				t.Errorf("%s, %s: Run = %+v, %v %q, stored %q, want %q", name, how, sum, err, w.reasons(), got, c.want)
			}
		}
	}
}

// What stands before the place where the input is broken is stored, and the error says
// where that is.
func TestBrokenInputs(t *testing.T) {
	t.Parallel()
	ann, bea := person("ann"), person("bea")
	for in, want := range map[string]string{
		"[" + ann:                      "element 1: the array ends in it",
		"[" + ann + ",":                "element 2: the array has no end",
		"[" + ann + "," + bea[:20]:     "element 2: the array ends in it",
		"[" + ann + ",]":               "element 2: the array is broken",
		"[" + ann + ",," + bea + "]":   "element 2: the array is broken",
		"[," + ann + "]":               "element 1: the array is broken",
		"[" + ann + "]\n" + bea:        "element 2: behind an array there is something else than another array",
		"[" + ann + "]," + "[" + bea:   "element 2: behind an array there is something else than another array",
		"[" + ann + "]\n[" + bea[:1]:   "element 2: the array ends in it",
		"[" + ann + "\n]\n[" + bea[:9]: "element 2: the array ends in it",
	} {
		w := newWorld(t)
		sum, err := w.run(strings.NewReader(in), 1)
		stored := 0
		if strings.Contains(want, "element 2") {
			stored = 1
		}
		if err == nil || !strings.HasSuffix(err.Error(), want) || sum.Imported != stored || len(w.stored) != stored {
			t.Errorf("Run of %s = %+v, %v, want %d imported and %q", in, sum, err, stored, want)
		}
	}
	w := newWorld(t)
	cut := errors.New("cut")
	_, err := w.run(io.MultiReader(strings.NewReader(ann+"\n"+bea+"\n"), iotest.ErrReader(cut)), 1)
	if !errors.Is(err, cut) || !strings.Contains(err.Error(), "read line 3") || len(w.stored) != 2 {
		t.Errorf("Run of an input that is cut = %v with %d stored, want the error with its line and 2", err, len(w.stored))
	}
}

// A broken element is refused by its number, and those behind it are taken.
func TestBrokenElements(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sum := w.all("[" + strings.Join([]string{
		person("ann"), `{"traits":{"email":"no"},}`, person("bea") + " " + person("cid"), `[]`, `7`, `{"traits":}`, person("bea"),
	}, ",") + "]")
	want := []string{
		`element 2: the JSON is refused at byte 25: a key is expected`,
		`element 3: the JSON is refused at byte 56: something follows the object`,
		`element 4: the JSON is refused: it is not an object`,
		`element 5: the JSON is refused: it is not an object`,
		`element 6: the JSON is refused at byte 10: a value is expected`,
	}
	if got := w.reasons(); sum.Imported != 2 || !slices.Equal(got, want) {
		t.Errorf("Run = %+v, refused %q, want 2 imported, refused %q", sum, got, want)
	}
}

func TestInputsHaveALimitForEach(t *testing.T) {
	t.Parallel()
	sized := func(size int) string {
		text := person("ann")
		return strings.Replace(text, `"}}`, strings.Repeat("x", size-len(text))+`"}}`, 1)
	}
	for _, c := range []struct {
		in       string
		imported int
		reasons  []string
	}{
		{sized(importer.MaxLine) + "\n" + person("bea"), 2, nil},
		{sized(importer.MaxLine+1) + "\n" + person("bea"), 1, []string{"line 1: it is longer than 1048576 bytes"}},
		{"[" + sized(importer.MaxLine) + "   \n ," + person("bea") + "]", 2, nil},
		{"[" + sized(importer.MaxLine+1) + "," + person("bea") + "]", 1, []string{"element 1: it is longer than 1048576 bytes"}},
	} {
		w := newWorld(t)
		sum := w.all(c.in)
		if got := w.reasons(); sum.Imported != c.imported || !slices.Equal(got, c.reasons) {
			t.Errorf("Run of %d bytes = %+v, refused %q, want %d imported, refused %q", len(c.in), sum, got, c.imported, c.reasons)
		}
	}
}

// However long the identities are, no more than some megabytes of them wait for a commit.
func TestBatchesHaveALimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.Batch = admin.MaxBatch
	var in strings.Builder
	for n := range 40 {
		fmt.Fprintf(&in, `{"traits":{"email":"p%d@example.org","name":"%s"}}`+"\n", n, strings.Repeat("x", 1<<19))
	}
	if sum := w.all(in.String()); sum.Imported != 40 || slices.Max(w.commits) > 17 {
		t.Errorf("40 of half a megabyte = %+v in commits of %v, want none of more than 8 MB", sum, w.commits)
	}
}

func TestListOfKratos(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("testdata/kratos.json")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if sum := w.all(string(list)); sum.Imported != 2 {
		t.Fatalf("Run = %+v, refused %q, want 2 imported", sum, w.reasons())
	}
	if sum := w.all(string(list)); sum.There != 2 {
		t.Errorf("the same again = %+v, refused %q, want 2 there", sum, w.reasons())
	}
	for _, i := range w.stored {
		if i.Addresses[0].Value == "bea@example.org" {
			if len(i.Credentials) != 0 || i.State != "inactive" || i.Addresses[0].Verified {
				t.Errorf("the one who never had a password: %+v, want nothing to sign in with", i)
			}
			continue
		}
		if len(i.Credentials) != 2 || !i.Addresses[0].Verified || string(i.MetadataAdmin) != `{"note":"with ] and } and \","}` || i.MetadataPublic != nil {
			t.Fatalf("imported: %+v, want a password, accounts and a verified address", i)
		}
		if c := i.Credential("password"); c == nil || string(c.Config) != `{"hashed_password":"$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"}` {
			t.Errorf("password = %+v, want the hash", c)
		}
		const want = `{"providers":[{"provider":"github","subject":"4711"},{"provider":"google","subject":"1-2"}]}`
		c := i.Credential("oidc")
		if c == nil || string(c.Config) != want || !slices.Equal(c.Identifiers, []string{"github:4711", "google:1-2"}) || c.CreatedAt.Year() != 2023 {
			t.Errorf("accounts = %+v, want %s", c, want)
		}
	}
}
