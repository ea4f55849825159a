"""From a folder or a file to rows of verified pictures, split so that measuring means something."""

from finetune.data.gather import gather
from finetune.data.splits import Fold, Plan, make_plan
from finetune.data.table import Report, Row, Table

__all__ = ["Fold", "Plan", "Report", "Row", "Table", "gather", "make_plan"]
