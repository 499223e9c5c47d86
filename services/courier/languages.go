package courier

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// languages is one mail in each language that it is there in.
type languages struct {
	mails   []mailTemplates // the first is for whoever reads none of the others
	matcher language.Matcher
}

// in gives the mail in the best of these languages that it is there in, see
// [flow.Flow].
func (l languages) in(tags string) mailTemplates {
	_, at := language.MatchStrings(l.matcher, tags)
	return l.mails[at]
}

// newLanguages makes a mail in all its languages, and tries it with samples. Besides the
// usual one these are the built-in ones, if that is built in as a whole, and those of the
// operator's folder; what one lacks there is as usual.
func newLanguages(k kind, given Texts, folder string, sample func(mailTemplates) any) (languages, error) {
	usual, err := newMail(func(n int) (source, error) { return findSource(k, n, given, folder) }, sample)
	if err != nil {
		return languages{}, err
	}
	from := []source{usual.subject.from, usual.plain.from, usual.html.from}
	isOwn := !slices.ContainsFunc(from, func(s source) bool { return !s.isOwn })
	names, err := k.languages(folder)
	if err != nil {
		return languages{}, err
	}
	l, tags := languages{mails: []mailTemplates{usual}}, []language.Tag{language.Und}
	if isOwn && !slices.Contains(names, language.English.String()) {
		tags[0] = language.English
	}
	for _, name := range names {
		tag, err := language.Parse(name)
		if err != nil {
			return languages{}, misconfigured(keyFolder, "%s is named after no language", filepath.Join(folder, k.folder, name))
		}
		inFolder := 0
		m, err := newMail(func(n int) (source, error) {
			s, err := fromFolder(folder, k.folder+"/"+name, parts[n].file)
			if err == nil {
				inFolder++
			}
			if errors.Is(err, fs.ErrNotExist) && isOwn {
				s, err = own(k, k.folder+"/"+name, n)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return from[n], nil
			}
			return s, err
		}, sample)
		if err != nil {
			return languages{}, err
		}
		if below := filepath.Join(folder, filepath.FromSlash(k.folder), name); folder != "" && inFolder == 0 && isFolder(below) {
			return languages{}, misconfigured(keyFolder, "%s holds none of %s, %s and %s", below, parts[0].file, parts[1].file, parts[2].file)
		}
		l.mails, tags = append(l.mails, m), append(tags, tag)
	}
	l.matcher = language.NewMatcher(tags)
	return l, nil
}

// languages are the names of the folders of a mail's languages, each once.
func (k kind) languages(folder string) ([]string, error) {
	entries, err := builtIn.ReadDir("templates/" + k.folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if folder != "" {
		below := filepath.Join(folder, filepath.FromSlash(k.folder))
		entries, err := os.ReadDir(below)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, misconfigured(keyFolder, "%w", err)
		}
		for _, e := range entries { // a volume holds hidden ones besides, and may have links to them
			if !strings.HasPrefix(e.Name(), ".") && isFolder(filepath.Join(below, e.Name())) {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// isFolder tells whether a name leads to a folder, by a link too.
func isFolder(name string) bool {
	is, err := os.Stat(name)
	return err == nil && is.IsDir()
}
