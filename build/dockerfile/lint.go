// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

func (s *stage) lintFrom(used, unset map[string]struct{})                    {}
func (s *stage) lintPlatform(text string, used, unset map[string]struct{})   {}
func (s *stage) lintUnset(c instructions.Command, unset map[string]struct{}) {}
func (s *stage) lintCommand(c *command)                                      { s.last[strings.ToLower(c.Name())] = c }
func (s *stage) lintPort(c instructions.Command, port string, odd bool)      {}
func (s *stage) lintSecret(what, key string, c instructions.Command)         {}
func (s *stage) lintWorkdir(c *command, path string)                         {}
