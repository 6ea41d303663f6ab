// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/dray-tools/dray/kubeyaml"
	"github.com/dray-tools/dray/oci"
)

// manifestFlags say which objects of Kubernetes a command is about.
type manifestFlags struct {
	files     []string
	recursive bool
	selector  string
}

func (m *manifestFlags) add(f *pflag.FlagSet) {
	f.StringSliceVarP(&m.files, "filename", "f", nil, "read `FILE`, all .yaml, .yml and .json of a directory, a URL, or - for stdin (several allowed)")
	f.BoolVarP(&m.recursive, "recursive", "R", false, "read the directories below those of -f too")
	f.StringVarP(&m.selector, "selector", "l", "", "take only objects whose labels match, as app=web,tier!=test: `SELECTOR`")
}

const (
	koScheme   = "ko://"
	drayScheme = "dray://"
)

// read reads and parses all files.
func (m *manifestFlags) read(a *app, c *cobra.Command) (all []*kubeyaml.File, err error) {
	if len(m.files) == 0 {
		return nil, usage(c, errors.New("-f is missing: a file, a directory, a URL, or - for stdin"))
	}
	o := kubeyaml.Options{Schemes: []string{koScheme, drayScheme}}
	if m.selector != "" {
		s, err := labels.Parse(m.selector)
		if err != nil {
			return nil, usage(c, fmt.Errorf("--selector: %w", err))
		}
		o.Select = func(l map[string]string) bool { return s.Matches(labels.Set(l)) }
	}
	stdin := 0
	for _, arg := range m.files {
		paths := []string{arg}
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			if paths, err = m.find(arg); err != nil {
				return nil, err
			}
		}
		if arg == "-" {
			stdin++
		}
		for _, path := range paths {
			f, err := a.readManifest(c, path, o)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
	}
	if stdin > 1 {
		return nil, usage(c, errors.New("-f - twice: there is one stdin"))
	}
	return all, nil
}

// find lists the files of a directory that may have objects, sorted.
func (m *manifestFlags) find(dir string) (paths []string, err error) {
	below := false
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && !m.recursive:
			below = true
			return fs.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path))):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = oci.Errorf(oci.ErrNotFound, "%s: no .yaml, .yml or .json files", dir)
		if below {
			err = hinted{err, "-R looks into the directories below"}
		}
	}
	return paths, err
}

func (a *app) readManifest(c *cobra.Command, path string, o kubeyaml.Options) (*kubeyaml.File, error) {
	in, name := io.NopCloser(a.In), "stdin"
	if path != "-" {
		name = path
		var err error
		if u := webURL(path); u != nil {
			name = u.Redacted()
			in, err = a.get(c, u)
		} else {
			in, err = os.Open(path)
		}
		if err != nil {
			return nil, err
		}
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, kubeyaml.MaxFile+1))
	if err != nil {
		return nil, oci.Wrap("", name, err)
	}
	return kubeyaml.Parse(name, raw, o)
}

// webURL is the URL that an argument is; nil if it is none.
func webURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil
	}
	return u
}

// get begins to read what is at a URL. From https it is not led to http.
func (a *app) get(c *cobra.Command, u *url.URL) (io.ReadCloser, error) {
	client := &http.Client{Transport: &http.Transport{Proxy: a.env.Proxy, ResponseHeaderTimeout: time.Minute, ForceAttemptHTTP2: true}}
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > 10 {
			return errors.New("more than 10 redirects")
		}
		if r.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
			return errors.New("a redirect from https to " + r.URL.Scheme)
		}
		return nil
	}
	r, err := http.NewRequestWithContext(c.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // its text has the URL again
		}
		return nil, oci.Wrap("", u.Redacted(), err)
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		kind := oci.ErrUnsupported
		if answer.StatusCode == http.StatusNotFound {
			kind = oci.ErrNotFound
		}
		return nil, oci.Errorf(kind, "%s: the server says %s", u.Redacted(), answer.Status)
	}
	return answer.Body, nil
}
