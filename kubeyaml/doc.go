// SPDX-License-Identifier: Apache-2.0

// Package kubeyaml finds references in Kubernetes YAML and replaces them, and
// leaves every other byte alone.
//
// A reference is a string that begins with a scheme, as ko://example.com/cmd/app:
// a whole value in any style, never a key, never a part of a longer text. What
// stands for it later is put into the bytes at its place; comments, order,
// quotes, anchors, line ends and what separates documents stay as they are. JSON
// is taken too, one value or several after one another.
package kubeyaml
