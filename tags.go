// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"path"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// A TagFilter chooses among tags. The zero value chooses all but the tags that
// only stand for another image's signatures and referrers (sha256-…).
type TagFilter struct {
	// Include and Exclude are shell patterns (1.*, *-alpine), or regular
	// expressions between slashes (/^v[0-9]+$/). A tag must match one of Include,
	// if there are any, and none of Exclude.
	Include, Exclude []string
	// Semver is a range like ">=1.20 <2" or "~1.4"; a tag must be a version in it.
	Semver string
}

var companionTag = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64,128}(\.[a-z]+)?$`)

// compile checks a filter once and returns what it chooses.
func (f TagFilter) compile() (func(tag string) bool, error) {
	include, err := patterns(f.Include)
	if err != nil {
		return nil, err
	}
	exclude, err := patterns(f.Exclude)
	if err != nil {
		return nil, err
	}
	var within *semver.Constraints
	if f.Semver != "" {
		if within, err = semver.NewConstraint(f.Semver); err != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "version range %s: %w", oci.Quote(f.Semver), err)
		}
	}
	return func(tag string) bool {
		if companionTag.MatchString(tag) || len(f.Include) > 0 && !include(tag) || exclude(tag) {
			return false
		}
		if within == nil {
			return true
		}
		v, err := semver.NewVersion(tag)
		return err == nil && within.Check(v)
	}, nil
}

func patterns(list []string) (func(string) bool, error) {
	var tests []func(string) bool
	for _, p := range list {
		if len(p) > 1 && strings.HasPrefix(p, "/") && strings.HasSuffix(p, "/") {
			re, err := regexp.Compile(p[1 : len(p)-1])
			if err != nil {
				return nil, oci.Errorf(oci.ErrInvalid, "pattern %s: %w", oci.Quote(p), err)
			}
			tests = append(tests, re.MatchString)
			continue
		}
		if _, err := path.Match(p, ""); err != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "pattern %s: %w", oci.Quote(p), err)
		}
		tests = append(tests, func(s string) bool { ok, _ := path.Match(p, s); return ok })
	}
	return func(s string) bool {
		for _, t := range tests {
			if t(s) {
				return true
			}
		}
		return false
	}, nil
}

// Pairs makes a pair of every tag of a repository that the filter chooses;
// ErrNotFound if it chooses none.
func (c *Client) Pairs(ctx context.Context, from, to string, s Side, f TagFilter) ([]Pair, error) {
	chosen, err := f.compile()
	if err != nil {
		return nil, err
	}
	src, err := ref.ParseRepository(from)
	if err != nil {
		return nil, err
	}
	dst, err := ref.ParseRepository(to)
	if err != nil {
		return nil, err
	}
	var out []Pair
	for t, err := range c.Tags(ctx, from, s) {
		if err != nil {
			return nil, err
		}
		if chosen(t) && dst.Scheme == ref.Registry && !oci.IsTag(t) {
			return nil, oci.Errorf(oci.ErrInvalid, "%s has %s, which cannot be a tag of a repository: name what it shall be, one image a copy or line of --from-file", src, oci.Quote(t))
		}
		if chosen(t) {
			out = append(out, Pair{src.WithTag(t).String(), dst.WithTag(t).String()})
		}
	}
	if len(out) == 0 {
		return nil, oci.Errorf(oci.ErrNotFound, "%s has no tag that is asked for", src)
	}
	return out, nil
}
