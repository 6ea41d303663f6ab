// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// words are a JSON list.
func (p *parser) words(n *yaml.Node) string {
	words := []string{}
	p.list(n, oci.MaxFanOut, func(v *yaml.Node) { words = append(words, p.scalar(v)) })
	raw, err := json.Marshal(words)
	if err != nil {
		p.fail(n, "%v", err)
	}
	return string(raw)
}

// json is an object of texts, numbers and lists of texts, as JSON.
func (p *parser) json(n *yaml.Node) string {
	all := map[string]any{}
	p.object(n, nil, func(key string, _, v *yaml.Node) {
		switch {
		case v.Kind == yaml.SequenceNode:
			all[key] = json.RawMessage(p.words(v))
		case v.ShortTag() == "!!int" && json.Valid([]byte(v.Value)):
			all[key] = json.RawMessage(v.Value)
		default:
			all[key] = p.scalar(v)
		}
	})
	raw, err := json.Marshal(all)
	if err != nil {
		p.fail(n, "%v", err)
	}
	return string(raw)
}

// pair is KEY=VALUE.
func (p *parser) pair(k *Key, key string, at, v *yaml.Node) string {
	if strings.Contains(key, "=") {
		p.fail(at, "%s: want a key with no = in it", oci.Quote(key))
	}
	value := p.expand(k, v, p.scalar(v))
	if k.Path && value != "" && !strings.Contains(value, "://") && !strings.HasPrefix(value, "git@") {
		value = p.path(value)
	}
	return key + "=" + value
}

// ownerForm is the form of an owner.
const ownerForm = `^[0-9]+:[0-9]+$`

var isOwner = regexp.MustCompile(ownerForm).MatchString

// keeps are what a place can keep of what the files say.
var keeps = []string{"modes", "owner", "times"}

// place is SRC[:DEST][,chown=UID:GID][,chmod=MODE][,keep-…].
func (p *parser) place(k *Key, n *yaml.Node) string {
	var from, to, rules string
	p.object(n, []string{"from", "to", "owner", "mode", "keep"}, func(key string, _, v *yaml.Node) {
		switch key {
		case "from":
			from = p.value(k, v)
		case "to":
			if to = ":" + p.text(v); strings.ContainsAny(to[1:], ":,") {
				p.fail(v, "to: %s has a colon or comma in it", oci.Quote(to[1:]))
			}
		case "owner":
			if rules += ",chown=" + p.text(v); p.err == nil && !isOwner(v.Value) {
				p.fail(v, "owner %s: want UID:GID, two numbers", oci.Quote(v.Value))
			}
		case "mode":
			rules += ",chmod=" + p.text(v)
			if _, err := layer.ParseMode(v.Value); err != nil {
				p.fail(v, "mode: %v", err)
			}
		case "keep":
			p.some(v, func(v *yaml.Node) {
				if rules += ",keep-" + p.text(v); p.err == nil && !slices.Contains(keeps, v.Value) {
					p.fail(v, "keep: want some of %s", strings.Join(keeps, ", "))
				}
			})
		}
	})
	switch rest := from[len(filepath.VolumeName(from)):]; {
	case from == "":
		p.fail(n, "no from: it says what is put into the image")
	case strings.ContainsAny(rest, ":,"):
		p.fail(n, "from: %s has a colon or comma in it", oci.Quote(rest))
	case strings.Contains(rules, ",chown=") && strings.Contains(rules, ",keep-owner"):
		p.fail(n, "owner, and keep: [owner]: want one of them")
	}
	return from + to + rules
}
