"""Prints template.yaml as CloudFormation gets it: transformed by SAM's own translator, as JSON, without asking AWS.

Nested stacks stand in it with their own templates, under "Template" beside their properties.
"""

import json
import logging
import os
import sys
from pathlib import Path

import yaml
from samtranslator.sdk.parameter import SamParameterValues
from samtranslator.translator.translator import Translator
from samtranslator.parser.parser import Parser
from samtranslator.yaml_helper import yaml_parse

logging.disable(logging.WARNING)
os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")


def main(root):
    template = yaml_parse((root / "template.yaml").read_text())
    # what `sam package` puts there
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
    template["Globals"]["Function"].pop("CodeUri")
    transformed = Translator({}, Parser()).translate(template, {})
    for resource in transformed["Resources"].values():
        if resource["Type"] == "AWS::CloudFormation::Stack":
            resource["Template"] = yaml_parse((root / resource["Properties"]["TemplateURL"]).read_text())
    json.dump(transformed, sys.stdout)


main(Path(sys.argv[1]))
