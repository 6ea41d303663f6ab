// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/md5" //nolint:gosec // ko's names have it
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// koNames are the flags that say what images are called, as those of ko do.
type koNames struct {
	preserve, base, bare bool
	tags                 []string
	tagOnly, local       bool
	insecure             bool
	layout, tarball      string
	refs                 string
}

func (k *koNames) add(f *pflag.FlagSet) {
	f.BoolVarP(&k.preserve, "preserve-import-paths", "P", false, "go: names are KO_DOCKER_REPO and the import path")
	f.BoolVarP(&k.base, "base-import-paths", "B", false, "go: names are KO_DOCKER_REPO and the last element of the import path (default: with its MD5 too)")
	f.BoolVar(&k.bare, "bare", false, "go: the name is KO_DOCKER_REPO alone")
	f.StringSliceVar(&k.tags, "tags", nil, "go: `TAG`s below KO_DOCKER_REPO (default latest; several allowed)")
	f.BoolVar(&k.tagOnly, "tag-only", false, "go: print REPOSITORY:TAG without the digest; there must be one tag, which is not latest")
	f.BoolVarP(&k.local, "local", "L", false, "go: write to the Docker engine, below KO_DOCKER_REPO or ko.local")
	f.StringVar(&k.layout, "oci-layout-path", "", "go: write to an OCI layout in `DIR` too")
	f.StringVar(&k.tarball, "tarball", "", "go: write to a `FILE` too, as docker save does")
	f.StringVar(&k.refs, "image-refs", "", "go: write the references of indexes and images to `FILE`")
	f.BoolVar(&k.insecure, "insecure-registry", false, "go: as --insecure-tls")
}

// goNames are the names of the images of a run.
type goNames struct {
	*koNames
	repo string   // that all are below; "": none
	tags []string // below repo
	refs []string // that were given whole
	push bool     // to repo
	to   string   // the scheme of repo
}

const (
	localDomain = "ko.local"
	kindDomain  = "kind.local"
)

// word is the form of a tag.
var word = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// options finds out what flags and environment say together.
func (k *koNames) options(a *app, c *cobra.Command, o *buildFlags) (*goNames, error) {
	n := &goNames{koNames: k, repo: strings.TrimSuffix(a.Getenv("KO_DOCKER_REPO"), "/"), tags: slices.Clone(k.tags)}
	if o.described { // it says itself where it goes
		n.repo = ""
	}
	if k.local && n.repo == "" {
		n.repo = localDomain
	}
	if n.repo == kindDomain || strings.HasPrefix(n.repo, kindDomain+"/") {
		return nil, errors.New("KO_DOCKER_REPO=" + n.repo + ": dray does not load images into kind; write one with KO_DOCKER_REPO=ko.local --push=false --tarball FILE, then kind load image-archive FILE")
	}
	if n.repo == localDomain || strings.HasPrefix(n.repo, localDomain+"/") || k.local {
		n.to = ref.Daemon + ":"
	}
	for _, t := range o.edit.Targets {
		if words := strings.Split(t, ","); n.repo != "" && !slices.ContainsFunc(words, func(w string) bool { return !word.MatchString(w) }) {
			n.tags = append(n.tags, words...)
		} else {
			n.refs = append(n.refs, t)
		}
	}
	asked := c.Flags().Changed("push")
	n.push = n.repo != "" && (o.push || !asked && (len(n.refs) == 0 || len(n.tags) > 0))
	if asked && !o.push {
		n.refs = nil
	}
	if len(n.tags) == 0 {
		n.tags = []string{"latest"}
	}
	slices.Sort(n.tags)
	n.tags = slices.Compact(n.tags)
	o.edit.both.InsecureTLS = o.edit.both.InsecureTLS || k.insecure
	return n, n.check(o)
}

// check refuses what cannot be meant.
func (n *goNames) check(o *buildFlags) error {
	switch {
	case o.described && (n.tagOnly || n.koNames.refs != ""):
		return errors.New("--tag-only and --image-refs mean nothing for builds of dray.yaml; --metadata-file has all references")
	case o.push && n.repo == "" && len(n.refs) == 0:
		return errors.New("--push: where to? Set KO_DOCKER_REPO, or say -t REF")
	case n.tagOnly && (len(n.tags) != 1 || n.tags[0] == "latest"):
		return errors.New("--tag-only wants one tag that is not latest (-t TAG)")
	case n.tagOnly && n.repo == "":
		return errors.New("--tag-only names tags below KO_DOCKER_REPO, which is not set")
	case n.koNames.refs != "" && n.repo == "" && len(n.refs) == 0:
		return errors.New("--image-refs: the images have no names: set KO_DOCKER_REPO, or say -t REF")
	}
	for _, t := range n.tags {
		if !word.MatchString(t) {
			return fmt.Errorf("--tags: %s cannot be a tag", oci.Quote(t))
		}
	}
	if n.repo != "" {
		if _, err := ref.ParseRepository(n.repository("x.invalid/x")); err != nil {
			return fmt.Errorf("KO_DOCKER_REPO=%s: want a repository, or what names of several begin with, as registry.example/apps", n.repo)
		}
	}
	if n.koNames.refs != "" { // before anything is done
		if _, err := os.Stat(filepath.Dir(n.koNames.refs)); err != nil {
			return fmt.Errorf("--image-refs: %w", err)
		}
	}
	return nil
}

// apart refuses two programs whose images would have one name.
func (n *goNames) apart(groups [][]*golang.Program) error {
	if n.repo == "" || !n.push {
		return nil
	}
	named := map[string]string{}
	for _, g := range groups {
		name := n.repository(g[0].ImportPath)
		if other, ok := named[name]; ok {
			return fmt.Errorf("the images of %s and %s would both be %s: without --bare and -B each has a name of its own, and --together makes one image", other, g[0].ImportPath, name)
		}
		named[name] = g[0].ImportPath
	}
	return nil
}

// repository is the name of the image of a program, as ko makes it.
func (n *goNames) repository(importPath string) string {
	p := strings.ToLower(importPath)
	switch {
	case n.preserve:
		return n.repo + "/" + p
	case n.base:
		return n.repo + "/" + path.Base(p)
	case n.bare:
		return n.repo
	}
	sum := md5.Sum([]byte(p)) //nolint:gosec // no secret depends on it
	return n.repo + "/" + path.Base(p) + "-" + hex.EncodeToString(sum[:])
}

// targets are where the image of a program is written.
func (n *goNames) targets(importPath string) []string {
	out := slices.Clone(n.refs)
	if n.push {
		for _, t := range n.tags {
			out = append(out, n.to+n.repository(importPath)+":"+t)
		}
	}
	name := path.Base(strings.ToLower(importPath))
	if n.layout != "" {
		out = append(out, ref.Layout+":"+filepath.ToSlash(n.layout)+":"+name)
	}
	if n.tarball != "" {
		if n.repo != "" {
			name = n.repository(importPath)
		}
		for _, t := range n.tags {
			out = append(out, ref.DockerArchive+":"+n.tarball+":"+name+":"+t)
		}
	}
	return out
}

// hook lets the results be printed as the flags say, and be written to a file.
func (n *goNames) hook(o *buildFlags, groups [][]*golang.Program) error {
	repos := make([]string, len(groups))
	for i, g := range groups {
		switch {
		case n.repo != "" && (n.push || len(n.refs) == 0):
			repos[i] = n.repository(g[0].ImportPath)
		case len(n.refs) > 0:
			if r, err := ref.ParseAny(n.refs[0]); err == nil {
				repos[i] = r.Repo().String()
			}
		}
	}
	named := func(i int, b dray.BuiltImage) string {
		if n.tagOnly || n.to == ref.Daemon+":" { // an engine knows no such digest
			return repos[i] + ":" + n.tags[0]
		}
		return repos[i] + "@" + string(b.Root.Digest)
	}
	if n.repo != "" && (n.push || len(n.refs) == 0) {
		o.result = named
	}
	if n.koNames.refs == "" {
		return nil
	}
	o.writes = []string{n.koNames.refs}
	o.after = func(b *dray.Built) error { return writeRefs(n.koNames.refs, repos, named, b) }
	return nil
}

// writeRefs writes the references of what was built, that of an index before
// those of its images. What is not there, as its tags were kept, has none.
func writeRefs(path string, repos []string, named func(int, dray.BuiltImage) string, b *dray.Built) error {
	var text strings.Builder
	for i, built := range b.Builds {
		if keptAll(b, repos[i]) {
			continue
		}
		fmt.Fprintln(&text, named(i, built))
		for _, d := range built.Images {
			if d.Digest != built.Root.Digest {
				fmt.Fprintf(&text, "%s@%s\n", repos[i], d.Digest)
			}
		}
	}
	return writeWhole(path, []byte(text.String()))
}

// keptAll reports whether all that would have been written to a repository has other
// content, which was kept.
func keptAll(b *dray.Built, repo string) (kept bool) {
	at, err := ref.ParseRepository(repo)
	if err != nil {
		return false
	}
	for _, to := range b.Images {
		if r, err := ref.ParseAny(to.To); err != nil || r.Repo().String() != at.Repo().String() {
			continue
		}
		if !to.Kept {
			return false
		}
		kept = true
	}
	return kept
}

// koImages are the flags that change images, as those of ko do.
type koImages struct {
	changes     []edit.Edit
	annotations map[string]string
}

func (k *koImages) add(f *pflag.FlagSet) {
	k.annotations = map[string]string{}
	f.Var(pairsFlag(func(key, value string) { k.changes = append(k.changes, edit.SetLabel(key, value)) }), "image-label", "go: set labels, `KEY=VALUE[,KEY=VALUE]`")
	f.Var(pairsFlag(func(key, value string) { k.annotations[key] = value }), "image-annotation", "go: set annotations of the images and of their index, `KEY=VALUE[,KEY=VALUE]`")
	f.Var(actFlag(func(s string) error {
		k.changes = append(k.changes, edit.SetUser(s))
		return nil
	}), "image-user", "go: set the `USER`")
}

// A pairsFlag does something with each of the pairs of its values, which are in
// the form of CSV.
type pairsFlag func(key, value string)

func (pairsFlag) String() string { return "" }
func (pairsFlag) Type() string   { return "string" }
func (p pairsFlag) Set(s string) error {
	list, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return fmt.Errorf("%s: want KEY=VALUE[,KEY=VALUE]", oci.Quote(s))
	}
	for _, one := range list {
		key, value, err := keyValue(one)
		if err != nil {
			return err
		}
		p(key, value)
	}
	return nil
}
