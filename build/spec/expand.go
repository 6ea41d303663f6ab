// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// variable is $$, ${NAME}, ${NAME:-DEFAULT}, or a dollar that is none of these.
var variable = regexp.MustCompile(`\$(\$|\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\})?`)

// expand puts in variables of the environment, if the key has them. A dollar is
// written $$ there.
func (p *parser) expand(k *Key, n *yaml.Node, s string) string {
	if !k.Vars || !strings.Contains(s, "$") {
		return s
	}
	return variable.ReplaceAllStringFunc(s, func(found string) string {
		part := variable.FindStringSubmatch(found)
		name, value := part[2], ""
		if name != "" && p.getenv != nil {
			value = p.getenv(name)
		}
		switch {
		case found == "$$":
			return "$"
		case name == "":
			p.fail(n, "%s: want ${NAME} or ${NAME:-DEFAULT} after a dollar; $$ is a dollar", oci.Quote(s))
		case value != "" && k.Tmpl:
			return "{{.Env." + name + "}}"
		case value != "":
			return value
		case part[3] != "":
			return part[4]
		default:
			p.fail(n, "the variable %s is not set; ${%s:-DEFAULT} says what it is then", name, name)
		}
		return ""
	})
}
