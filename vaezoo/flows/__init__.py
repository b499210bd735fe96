"""Invertible maps with their log-determinants, which posteriors and priors share."""

from vaezoo.flows.affine import AffineTransform
from vaezoo.flows.autoregressive import AutoregressiveFlow
from vaezoo.flows.coupling import CouplingFlow, coupling_layers
from vaezoo.flows.elementwise import ElementwiseFlow
from vaezoo.flows.flow import Flow
from vaezoo.flows.gaussian import FlowPosterior, TransformedGaussian
from vaezoo.flows.householder import HouseholderFlow
from vaezoo.flows.householder_sylvester import HouseholderSylvesterFlow
from vaezoo.flows.inverse import InverseFlow
from vaezoo.flows.layers import autoregressive_layers, flow_layers
from vaezoo.flows.orthogonal_sylvester import OrthogonalSylvesterFlow
from vaezoo.flows.parameters import FlowParameters
from vaezoo.flows.permutation import PermutationFlow
from vaezoo.flows.planar import PlanarFlow
from vaezoo.flows.prior import FlowPrior
from vaezoo.flows.sequence import FlowSequence
from vaezoo.flows.spline import SplineTransform
from vaezoo.flows.sylvester import SylvesterFlow
from vaezoo.flows.transform import ElementwiseTransform
from vaezoo.flows.triangular_sylvester import TriangularSylvesterFlow

__all__ = [
    "AffineTransform",
    "AutoregressiveFlow",
    "CouplingFlow",
    "ElementwiseFlow",
    "ElementwiseTransform",
    "Flow",
    "FlowParameters",
    "FlowPosterior",
    "FlowPrior",
    "FlowSequence",
    "HouseholderFlow",
    "HouseholderSylvesterFlow",
    "InverseFlow",
    "OrthogonalSylvesterFlow",
    "PermutationFlow",
    "PlanarFlow",
    "SplineTransform",
    "SylvesterFlow",
    "TransformedGaussian",
    "TriangularSylvesterFlow",
    "autoregressive_layers",
    "coupling_layers",
    "flow_layers",
]
