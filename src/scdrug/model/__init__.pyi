from ._base import DrugResponseModel as DrugResponseModel
from ._card import MethodCard as MethodCard
from ._pretrained import list_models as list_models
from ._pretrained import load_pretrained as load_pretrained
from ._recommended import recommended as recommended
from .baseline import AdditiveMean as AdditiveMean
from .baseline import BulkClassifier as BulkClassifier
from .baseline import KernelRidge as KernelRidge
from .baseline import SoftImpute as SoftImpute
from .csg2a import CSG2A as CSG2A
from .deepcdr import DeepCDR as DeepCDR
from .mtigcn import MTIGCN as MTIGCN
from .pathway_transfer import PathwayTransfer as PathwayTransfer

MODEL_CLASSES: tuple[str, ...]
