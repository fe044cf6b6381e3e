package main

import (
	"encoding/json"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// crd answers what is not structural in Schema (List), or what the schema makes of Object and what is wrong with the
// result (More).
func crd(asked request) (answer, error) {
	text, err := json.Marshal(asked.Schema)
	if err != nil {
		return answer{}, err
	}
	var versioned v1.JSONSchemaProps
	if err := json.Unmarshal(text, &versioned); err != nil {
		return answer{}, err
	}
	var internal apiextensions.JSONSchemaProps
	if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&versioned, &internal, nil); err != nil {
		return answer{}, err
	}
	said := answer{}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		return said, err
	}
	for _, problem := range structuralschema.ValidateStructural(field.NewPath("schema"), structural) {
		said.List = append(said.List, problem.Error())
	}
	if len(said.List) > 0 || asked.Object == nil {
		return said, nil
	}
	// The order in which a request passes them.
	pruning.Prune(asked.Object, structural, true)
	defaulting.Default(asked.Object, structural)
	defaulting.PruneNonNullableNullsWithoutDefaults(asked.Object, structural)
	said.Object = asked.Object
	validator, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return said, err
	}
	problems := validation.ValidateCustomResource(nil, asked.Object, validator)
	problems = append(problems, listtype.ValidateListSetsAndMaps(nil, structural, asked.Object)...)
	for _, problem := range problems {
		said.More = append(said.More, strings.TrimSpace(problem.Error()))
	}
	return said, nil
}
