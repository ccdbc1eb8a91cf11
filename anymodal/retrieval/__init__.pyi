from .build import Request as Request
from .build import index_dataset as index_dataset
from .hits import Hit as Hit
from .hits import Hits as Hits
from .index import Index as Index
from .searches import SEARCHES as SEARCHES
from .searches import Search as Search
from .values import hit_values as hit_values
