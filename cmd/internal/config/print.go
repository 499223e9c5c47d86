package config

import (
	"bytes"
	"encoding/json"

	"go.yaml.in/yaml/v3"
)

// Print gives the configuration as it is in force, as YAML with every key.
// Secrets are hidden.
func (c *Config) Print() ([]byte, error) {
	full := *c
	full.Serve.Public.BaseURL, full.Serve.Admin.BaseURL = c.PublicURL(), c.AdminURL()
	full.SelfService.DefaultBrowserReturnURL = c.DefaultReturnURL()
	full.SelfService.Flows.Registration.UIURL = c.RegistrationURL()
	full.SelfService.Flows.Error.UIURL = c.ErrorURL()
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	type plain Config // without MarshalJSON and what else would be asked for
	if err := e.Encode((*plain)(&full)); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// MarshalJSON gives what Print gives.
func (c *Config) MarshalJSON() ([]byte, error) {
	text, err := c.Print()
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}
