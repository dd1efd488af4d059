"""The rule that meta-learning found under random feedback: pseudo-gradient, error Hebb and Oja's subspace term.

Errors are target minus answer, so the sign of the first term is the opposite of the paper's. The published update acts
on the whole weight, which is the efficacy here.
"""

from ..spec import Param, PlasticityRule, Sum

random_feedback = PlasticityRule(
    name="random_feedback",
    dw="eta*pre*error_post - kappa*error_pre*error_post + rho*post*(pre - recon)",
    sums={"recon": Sum("w_eff*post", over="post")},
    params={"eta": Param(0.05, "positive"), "kappa": Param(0.01), "rho": Param(0.01, "positive")},
    bounds=(-10, 10),
    reference="Shervani-Tabar & Rosenbaum 2023, doi:10.1038/s41467-023-37562-1",
)
