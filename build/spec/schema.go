// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"bytes"
	"encoding/json"
	"slices"
)

// SchemaID is where the schema is published.
const SchemaID = "https://raw.githubusercontent.com/dray-tools/dray/main/schema/dray.schema.json"

type object = map[string]any

// Schema is the JSON Schema (draft 2020-12) of dray.yaml, for editors. What Parse
// takes it takes, and what Parse refuses it refuses, except where that is not
// about one value: names that are there twice, variables, anchors.
func Schema() []byte {
	build := object{
		"type": "object", "required": []string{"name", "kind"}, "additionalProperties": false,
		"properties": properties(func(k Key) bool { return true }),
		"allOf":      kindRules(),
	}
	all := build["properties"].(object)
	all["name"] = object{"type": []string{"string", "number", "boolean"}, "pattern": nameForm, "description": "What the build is called: dray build NAME."}
	all["kind"] = object{"enum": Kinds, "description": "What is built."}
	schema := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SchemaID,
		"title": Name, "description": "All builds of a repository, for dray build.",
		"type": "object", "required": []string{"version", "builds"}, "additionalProperties": false,
		"properties": object{
			"version": object{"const": 1, "description": "The version of this format."},
			"defaults": object{"type": "object", "additionalProperties": false, "description": "What all builds say that do not say otherwise.",
				"properties": properties(func(k Key) bool { return !k.Own })},
			"builds": object{"type": "array", "minItems": 1, "maxItems": maxBuilds, "items": build, "description": "The builds."},
		},
		"$defs": object{
			"text":  object{"type": []string{"string", "number", "boolean"}, "minLength": 1},
			"value": object{"type": []string{"string", "number", "boolean"}},
			"place": object{"type": "object", "required": []string{"from"}, "additionalProperties": false, "not": ownerTwice, "properties": object{
				"from":  object{"$ref": "#/$defs/text", "pattern": "^([A-Za-z]:)?[^:,]*$", "description": "A file or directory, relative to dray.yaml."},
				"to":    object{"$ref": "#/$defs/text", "pattern": "^[^:,]*$", "description": "Where it is put in the image; without it what is in a directory goes to the root, and a program to /app."},
				"owner": object{"type": "string", "pattern": ownerForm, "description": "UID:GID of all of it; without it 0:0."},
				"keep":  object{"type": "array", "minItems": 1, "items": object{"enum": keeps}, "description": "What stays as the files have it."},
				"mode":  object{"$ref": "#/$defs/text", "description": "Modes, as of chmod: 0644, or u=rwX,go=rX."},
			}},
		},
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// ownerTwice is a place that says whom it belongs to in two ways.
var ownerTwice = object{"required": []string{"owner", "keep"}, "properties": object{"keep": object{"type": "array", "contains": object{"const": "owner"}}}}

// properties are those of a build or of the defaults.
func properties(has func(Key) bool) object {
	out := object{}
	for _, k := range Keys {
		if has(k) {
			p := k.Form.schema()
			p["description"] = k.Doc
			out[k.Name] = p
		}
	}
	return out
}

// kindRules say which keys go with which kind.
func kindRules() (all []any) {
	for _, kind := range Kinds {
		without := object{}
		for _, k := range Keys {
			if !k.of(kind) {
				without[k.Name] = false
			}
		}
		then := object{"properties": without}
		if need := needs[kind]; need != "" {
			then["required"] = []string{need}
		}
		all = append(all, object{"if": object{"properties": object{"kind": object{"const": kind}}}, "then": then})
	}
	return slices.Clip(all)
}

// schema is what a value of a form looks like.
func (f Form) schema() object {
	text, value := object{"$ref": "#/$defs/text"}, object{"$ref": "#/$defs/value"}
	switch f {
	case List:
		return object{"anyOf": []any{text, object{"type": "array", "minItems": 1, "items": text}}}
	case Words:
		return object{"type": "array", "items": value}
	case Object:
		return object{"type": "object", "additionalProperties": object{"anyOf": []any{value, object{"type": "array", "items": value}}}, "propertyNames": object{"minLength": 1}}
	case Pairs:
		return object{"type": "object", "additionalProperties": value, "propertyNames": object{"minLength": 1, "pattern": "^[^=]*$"}}
	case Switch:
		return object{"type": "boolean"}
	case Places:
		return object{"type": "array", "minItems": 1, "items": object{"$ref": "#/$defs/place"}}
	}
	return text
}
