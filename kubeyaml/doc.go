// SPDX-License-Identifier: Apache-2.0

// Package kubeyaml finds references in Kubernetes YAML and replaces them, and
// leaves every other byte alone.
package kubeyaml
