package main

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// decode keeps whole numbers whole, as the API server does.
func decode(text []byte, into any) error {
	return kjson.UnmarshalCaseSensitivePreserveInts(text, into)
}

func kindOf(asked request) schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(asked.APIVersion, asked.Kind)
}

func strategic(asked request) (answer, error) {
	typed, err := scheme.Scheme.New(kindOf(asked))
	if err != nil {
		return answer{}, err
	}
	merged, err := strategicpatch.StrategicMergeMapPatch(asked.Live, asked.Patch, typed)
	return answer{Object: merged}, err
}

// strict decodes into the Go type: Text is the fatal error, List the strict ones.
func strict(asked request) (answer, error) {
	typed, err := scheme.Scheme.New(kindOf(asked))
	if err != nil {
		return answer{}, err
	}
	complaints, err := kjson.UnmarshalStrict([]byte(asked.Text), typed)
	said := answer{Yes: err == nil}
	if err != nil {
		said.Text = err.Error()
	}
	for _, complaint := range complaints {
		said.List = append(said.List, complaint.Error())
	}
	return said, nil
}

// asTheyAre leaves every object in the version that it has.
type asTheyAre struct{}

func (asTheyAre) Convert(in, out, context any) error { return fmt.Errorf("nothing is converted") }
func (asTheyAre) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}
func (asTheyAre) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}
func (asTheyAre) Default(runtime.Object) {}
func (asTheyAre) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	return empty(kind), nil
}

func empty(kind schema.GroupVersionKind) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(kind)
	return object
}

var builtin = applyconfigurations.NewTypeConverter(scheme.Scheme)

func fieldManager(asked request) (*managedfields.FieldManager, error) {
	kind := kindOf(asked)
	reset := map[fieldpath.APIVersion]fieldpath.Filter{}
	if len(asked.Reset) > 0 {
		set := fieldpath.NewSet()
		for _, field := range asked.Reset {
			set.Insert(fieldpath.MakePathOrDie(field))
		}
		reset[fieldpath.APIVersion(kind.GroupVersion().String())] = fieldpath.NewExcludeSetFilter(set)
	}
	if asked.Deduced {
		types := managedfields.NewDeducedTypeConverter()
		return managedfields.NewDefaultCRDFieldManager(types, asTheyAre{}, asTheyAre{}, asTheyAre{}, kind, kind.GroupVersion(), asked.Subresource, reset)
	}
	return managedfields.NewDefaultFieldManager(builtin, asTheyAre{}, asTheyAre{}, asTheyAre{}, kind, kind.GroupVersion(), asked.Subresource, reset)
}

func live(asked request) *unstructured.Unstructured {
	if asked.Live == nil {
		return empty(kindOf(asked))
	}
	return &unstructured.Unstructured{Object: asked.Live}
}

func apply(asked request) (answer, error) {
	manager, err := fieldManager(asked)
	if err != nil {
		return answer{}, err
	}
	config := &unstructured.Unstructured{Object: asked.Object}
	object, err := manager.Apply(live(asked), config, asked.Manager, asked.Force)
	if err != nil {
		said := answer{}
		if status, ok := err.(interface{ Status() metav1.Status }); ok {
			said.Text = string(status.Status().Reason)
			if details := status.Status().Details; details != nil {
				for _, cause := range details.Causes {
					said.List = append(said.List, cause.Message+": "+cause.Field)
				}
			}
		}
		return said, err
	}
	return answer{Object: object.(*unstructured.Unstructured).Object}, nil
}

func update(asked request) (answer, error) {
	manager, err := fieldManager(asked)
	if err != nil {
		return answer{}, err
	}
	object, err := manager.Update(live(asked), &unstructured.Unstructured{Object: asked.Object}, asked.Manager)
	if err != nil {
		return answer{}, err
	}
	return answer{Object: object.(*unstructured.Unstructured).Object}, nil
}
