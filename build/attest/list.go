// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"

	"github.com/dray-tools/dray/build"
)

// A bill is what a bill of materials says, in any format.
type bill struct {
	s       build.Subject
	tool    string    // version of dray
	created time.Time // zero: not known
	items   []*item   // components, in an order of their own
}

// An item is a component in a list.
type item struct {
	build.Component
	id    string   // unique in the document: letters, digits, dots, hyphens
	top   bool     // the image has it itself
	needs []string // ids, sorted
}

func newBill(s build.Subject, b Bill) *bill {
	if s.Descriptor.Digest != "" && isIndex(s) {
		s.Components = nil // each is in the document about its image
	}
	return &bill{s: s, tool: b.Version, created: b.Created, items: itemsOf(s.Components)}
}

// itemsOf lists components: each once, sorted, with what they need. What is
// needed and not among them is listed by its name alone.
func itemsOf(all []build.Component) []*item {
	byKey, byName := map[string]*item{}, map[string][]*item{}
	var items []*item
	add := func(c build.Component) {
		c = clean(c)
		key := keyOf(c)
		if old := byKey[key]; old != nil {
			old.Needs = append(old.Needs, c.Needs...)
			return
		}
		n := &item{Component: c, id: idOf(c, key)}
		byKey[key] = n
		items = append(items, n)
		for _, name := range []string{c.PURL, c.Name} {
			if !slices.Contains(byName[name], n) {
				byName[name] = append(byName[name], n)
			}
		}
	}
	for _, c := range all {
		add(c)
	}
	for _, c := range items[:len(items):len(items)] {
		for _, name := range c.Needs {
			if byName[name] == nil {
				add(build.Component{Kind: "library", Name: name, PURL: name})
			}
		}
	}
	needed := map[*item]bool{}
	for _, n := range items {
		ids := map[string]bool{}
		for _, name := range n.Needs {
			for _, other := range byName[name] {
				if other != n {
					ids[other.id], needed[other] = true, true
				}
			}
		}
		n.needs = slices.Sorted(maps.Keys(ids))
	}
	for _, n := range items {
		n.top = n.Path != "" || !needed[n]
	}
	slices.SortFunc(items, func(a, b *item) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.id, b.id)) })
	return items
}

// clean is a component without what no document can hold: builders read these out
// of files of others.
func clean(c build.Component) build.Component {
	if _, err := packageurl.FromString(c.PURL); err != nil {
		c.PURL = ""
	}
	c.Name = cmp.Or(c.Name, c.PURL, c.Path, "unknown")
	c.Needs = slices.DeleteFunc(slices.Clone(c.Needs), func(name string) bool { return name == "" })
	hashes := map[string]string{}
	for _, a := range algorithms {
		if v := strings.ToLower(c.Hashes[a.name]); len(v) == a.size && strings.Trim(v, "0123456789abcdef") == "" {
			hashes[a.name] = v
		}
	}
	c.Hashes = hashes
	return c
}

// keyOf is what two components are the same by.
func keyOf(c build.Component) string {
	return strings.Join([]string{c.Kind, c.Name, c.Version, c.PURL, c.Path}, "\x00")
}

func idOf(c build.Component, key string) string {
	sum := sha256.Sum256([]byte(key))
	name := strings.ReplaceAll(plain(c.Name), "_", "-")
	return strings.TrimLeft(name[:min(len(name), 80)], ".-") + "-" + hex.EncodeToString(sum[:6])
}

// topIDs are the components that the image has itself.
func (b *bill) topIDs() (ids []string) {
	for _, n := range b.items {
		if n.top {
			ids = append(ids, n.id)
		}
	}
	return slices.Sorted(slices.Values(ids))
}

// seed is a digest of all that a document says, for its name in the world.
func seed(document any) ([]byte, error) {
	raw, err := json.Marshal(document)
	sum := sha256.Sum256(raw)
	return sum[:], err
}

// licence is an SPDX expression if it can be one; "" if not.
func licence(s string) string {
	if len(s) > 1000 || !expression.MatchString(s) {
		return ""
	}
	return s
}

// expression is what SPDX expressions look like (SPDX 2.3, annex D).
var expression = regexp.MustCompile(`^\(*[A-Za-z0-9.-]+\+?\)*( (AND|OR|WITH) \(*[A-Za-z0-9.-]+\+?\)*)*$`)

// algorithms are the names of digests: ours, that of SPDX, that of CycloneDX; and
// how many digits they have.
var algorithms = []struct {
	name, spdx, cdx string
	size            int
}{
	{"md5", "MD5", "MD5", 32}, {"sha1", "SHA1", "SHA-1", 40}, {"sha256", "SHA256", "SHA-256", 64},
	{"sha384", "SHA384", "SHA-384", 96}, {"sha512", "SHA512", "SHA-512", 128},
}

// sums are the checksums of a component's ecosystem, as text.
func sums(c build.Component) (all []string) {
	for _, kind := range slices.Sorted(maps.Keys(c.Sums)) {
		all = append(all, kind+":"+strings.TrimPrefix(c.Sums[kind], kind+":"))
	}
	return all
}
