from . import benchmark as benchmark
from . import datasets as datasets
from . import get as get
from . import metrics as metrics
from . import model as model
from . import pl as pl
from . import pp as pp
from . import tl as tl
from ._report import report as report
from ._settings import settings as settings

__version__: str
